package fanout

import (
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/event"
)

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
	options.StaticSummary = Summarize("replay of " + options.StaticSummary)
	return options
}

// startOptions names the run by the event's own words, however long they are; each
// name bounds them.
func startOptions(in Input, taskQueue string, memo map[string]any) client.StartWorkflowOptions {
	memo[MemoEventHash] = in.Event.Hash()
	options := client.StartWorkflowOptions{
		ID:                                       WorkflowID(in.Event.ID),
		TaskQueue:                                taskQueue,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		Memo:                                     memo,
		StaticSummary:                            summary(in.Event),
		StaticDetails:                            details(in),
	}
	if in.SearchAttributes {
		options.TypedSearchAttributes = SearchAttributes(in)
	}
	return options
}

// summary is the line that stands beside the run in Temporal UI.
func summary(e event.Event) string {
	line := event.Escape(e.Type)
	if e.ChannelType != "" {
		line += " · " + event.Escape(e.ChannelType)
	}
	return Summarize(line)
}

// details are what Temporal UI tells of a run beside its summary.
func details(in Input) string {
	text := fmt.Sprintf("event `%s` of interaction `%s`\n\n", event.Escape(in.Event.ID), event.Escape(in.Event.InteractionID))
	if in.Event.InteractionID == "" {
		text = fmt.Sprintf("event `%s`\n\n", event.Escape(in.Event.ID))
	}
	return text + fmt.Sprintf("from Kafka topic `%s`, partition %d, offset %d", in.Source.Topic, in.Source.Partition, in.Source.Offset)
}
