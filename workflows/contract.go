package workflows

import (
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// FanOutName is the workflow type, as Temporal UI shows it.
const FanOutName = "FanOut"

// DefaultTaskQueue is where FanOut's workflow tasks wait unless FANOUT_TASK_QUEUE says otherwise.
const DefaultTaskQueue = "genesys-fanout"

// TargetQueue names the queue of one target's retry lane.
func TargetQueue(taskQueue, target string) string { return taskQueue + "/target/" + target }

// DeadLetterQueue names the queue on which dead letters are recorded.
func DeadLetterQueue(taskQueue string) string { return taskQueue + "/dead-letter" }

// ID is the workflow ID of an event: one event, one ID, so that a redelivered
// message finds its run already there.
func ID(eventID string) string { return "event-" + event.Escape(eventID) }

// RecallQueue names the queue on which one process answers for the first attempts
// that it made. instance is the process's, new with each of its starts.
func RecallQueue(taskQueue, instance string) string { return taskQueue + "/first-attempts/" + instance }

// The memo that tells who started a run; a run without it was started by hand,
// with UI's "Start Workflow Like This One" for one. One that names a recall queue was started eagerly: the process that started it
// makes its first attempts, and answers for them there.
const (
	MemoStartedBy   = "started_by"
	StartedByIngest = "ingest"
	StartedByReplay = "replay"
	MemoRecallQueue = "recall_queue"
	MemoTrackers    = activities.MemoTrackers // of a replay: which tracker has the open record of each target
)

// MemoEventHash is the memo with the event.Event.Hash of a run's event, made of the
// event's own words. ingest compares it when it finds that an event's id has a run
// already. A run that was started by hand has none.
const MemoEventHash = "event_hash"

// DeadLettered is the type of the ApplicationError with which a run fails that
// leaves dead letters behind.
const DeadLettered = activities.DeadLettered

// QueryDeliveries is the query that tells the State of each delivery of a run,
// open or closed.
const QueryDeliveries = "deliveries"

// The search attributes of a run. Temporal knows them only once they are
// registered; Input.SearchAttributes tells the workflow whether they are.
var (
	EventType         = temporal.NewSearchAttributeKeyKeyword("EventType")
	InteractionID     = temporal.NewSearchAttributeKeyKeyword("InteractionId")
	ChannelType       = temporal.NewSearchAttributeKeyKeyword("ChannelType")
	DeadLetterTargets = temporal.NewSearchAttributeKeyKeywordList("DeadLetterTargets")
)

// SearchAttributeKeys are all of them, for whoever registers them.
func SearchAttributeKeys() []temporal.SearchAttributeKey {
	return []temporal.SearchAttributeKey{EventType, InteractionID, ChannelType, DeadLetterTargets}
}

// Input is FanOut's one argument. It carries everything the run needs to replay
// the same later, and nothing secret.
type Input struct {
	Event   event.Event     `json:"event"`
	Body    event.Body      `json:"body,omitzero"` // the message, byte for byte; absent for an oversize one
	Source  event.Source    `json:"source"`
	Targets []target.Policy `json:"targets,omitempty"`

	// Undeliverable is set, instead of Targets, for a message that cannot be
	// fanned out: the run then only records it.
	Undeliverable *Undeliverable `json:"undeliverable,omitempty"`

	// SearchAttributes is false where the namespace lacks ours; the workflow
	// must not upsert them then, or its task would fail for ever.
	SearchAttributes bool `json:"search_attributes"`
}

// Undeliverable says why a message goes to no target at all.
type Undeliverable struct {
	Reason deadletter.Reason `json:"reason"` // Undecodable, Oversize or Conflict
	Error  string            `json:"error"`
}

// target is the tracker's name for where the message would have gone.
func (u *Undeliverable) target() string { return "_" + string(u.Reason) }

// Result is what a run that delivered everything ends with.
type Result struct {
	Delivered []string `json:"delivered"` // target names, in the input's order
}

// StartOptions are the options under which ingest starts FanOut for an event:
// eagerly where it makes the first attempts itself, and recallQueue is its own.
// Starting an event twice fails with *serviceerror.WorkflowExecutionAlreadyStarted,
// whether its run is open or closed.
func StartOptions(in Input, taskQueue, recallQueue string) client.StartWorkflowOptions {
	memo := map[string]any{MemoStartedBy: StartedByIngest}
	if recallQueue != "" {
		memo[MemoRecallQueue] = recallQueue
	}
	options := startOptions(in, taskQueue, memo)
	options.WorkflowIDReusePolicy = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	options.EnableEagerStart = recallQueue != ""
	return options
}

// ReplayOptions are the options under which the dead letters of an event are
// sent again: to the targets of the input that still have an open record when
// the run begins. trackers are the identities of the trackers, by target, that are
// known to have an open record of the event. If a run of the event is open,
// starting fails with *serviceerror.WorkflowExecutionAlreadyStarted.
func ReplayOptions(in Input, taskQueue string, trackers map[string]string) client.StartWorkflowOptions {
	memo := map[string]any{MemoStartedBy: StartedByReplay}
	if len(trackers) > 0 {
		memo[MemoTrackers] = trackers
	}
	options := startOptions(in, taskQueue, memo)
	options.WorkflowIDReusePolicy = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	options.WorkflowIDConflictPolicy = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL
	options.StaticSummary = summarized("replay of " + options.StaticSummary)
	return options
}

// startOptions names the run by the event's own words, however long they are; each
// name bounds them.
func startOptions(in Input, taskQueue string, memo map[string]any) client.StartWorkflowOptions {
	memo[MemoEventHash] = in.Event.Hash()
	options := client.StartWorkflowOptions{
		ID:                                       ID(in.Event.ID),
		TaskQueue:                                taskQueue,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Memo:                                     memo,
		StaticSummary:                            summary(in.Event),
		StaticDetails:                            details(in),
	}
	if in.SearchAttributes {
		options.TypedSearchAttributes = searchAttributes(in.Event, event.Escape)
	}
	return options
}

// searchAttributes leaves out the words that the event does not have, so that a
// filter for "IS NULL" finds it.
func searchAttributes(e event.Event, escape func(string) string) temporal.SearchAttributes {
	var updates []temporal.SearchAttributeUpdate
	for _, attribute := range []struct {
		key   temporal.SearchAttributeKeyKeyword
		value string
	}{
		{EventType, e.Type}, {InteractionID, e.InteractionID}, {ChannelType, e.ChannelType},
	} {
		if attribute.value != "" {
			updates = append(updates, attribute.key.ValueSet(escape(attribute.value)))
		}
	}
	return temporal.NewSearchAttributes(updates...)
}

// summary is the line that stands beside the run in Temporal UI.
func summary(e event.Event) string {
	line := event.Escape(e.Type)
	if e.ChannelType != "" {
		line += " · " + event.Escape(e.ChannelType)
	}
	return summarized(line)
}

// details are what Temporal UI tells of a run beside its summary.
func details(in Input) string {
	text := fmt.Sprintf("event `%s` of interaction `%s`\n\n", event.Escape(in.Event.ID), event.Escape(in.Event.InteractionID))
	if in.Event.InteractionID == "" {
		text = fmt.Sprintf("event `%s`\n\n", event.Escape(in.Event.ID))
	}
	return text + fmt.Sprintf("from Kafka topic `%s`, partition %d, offset %d", in.Source.Topic, in.Source.Partition, in.Source.Offset)
}
