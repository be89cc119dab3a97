package fanout

import (
	"strings"

	"github.com/google/uuid"

	"genesys-fanout/event"
)

// WorkflowName is the name of the workflow type. Temporal UI shows it.
const WorkflowName = "FanOut"

// WorkflowID returns the workflow ID of an event. The same event always gets the same ID, so
// that a redelivered message finds the run that exists already.
func WorkflowID(eventID string) string { return "event-" + event.Escape(eventID) }

// DefaultTaskQueue is the queue of FanOut's workflow tasks if FANOUT_TASK_QUEUE is
// not set. The names of all other queues begin with it.
const DefaultTaskQueue = "genesys-fanout"

// TargetQueue returns the name of the queue of one target's retry lane.
func TargetQueue(taskQueue, target string) string { return taskQueue + "/target/" + target }

// DeadLetterQueue returns the name of the queue on which dead letters are recorded,
// looked up and resolved.
func DeadLetterQueue(taskQueue string) string { return taskQueue + "/dead-letter" }

// ProcessQueue returns the name of the queue on which one process answers questions about the
// requests that it began. process is the id of the process, which is new each time it starts.
func ProcessQueue(taskQueue, process string) string { return taskQueue + "/process/" + process }

// Identity returns the identity of a process in Temporal: its host and its id. Temporal writes it
// into the history beside each workflow task that the process polls.
func Identity(host, process string) string { return host + "/" + process }

// ProcessOf returns the id of the process that has an identity. It is empty for the identity of
// another program.
func ProcessOf(identity string) string {
	process := identity[strings.LastIndexByte(identity, '/')+1:]
	if uuid.Validate(process) != nil {
		return ""
	}
	return process
}

// DeliverActivityID returns the ActivityID of a target's retry lane. It is stable, so
// that an operator can name it to pause, unpause or reset the delivery.
func DeliverActivityID(target string) string { return "deliver-" + target }

// RecallActivityID returns the ActivityID under which a run asks a process for the outcome of a
// request to a target.
func RecallActivityID(target string) string { return "recall-" + target }

// OutstandingActivityID is the ActivityID of the first Outstanding activity of a rerun. The
// IDs of the further ones begin with it.
const OutstandingActivityID = "outstanding"

const (
	recordPrefix  = "record-"
	resolvePrefix = "resolve-"
)

// RecordActivityID returns the ActivityID under which a run records the dead letter of
// a target.
func RecordActivityID(target string) string { return recordPrefix + target }

// RecordedTarget returns the target of an ActivityID that RecordActivityID returned.
func RecordedTarget(activityID string) (target string, ok bool) {
	return strings.CutPrefix(activityID, recordPrefix)
}

// ResolveActivityID returns the ActivityID under which a run resolves the dead letter
// of a target.
func ResolveActivityID(target string) string { return resolvePrefix + target }

// ResolvedTarget returns the target of an ActivityID that ResolveActivityID returned.
func ResolvedTarget(activityID string) (target string, ok bool) {
	return strings.CutPrefix(activityID, resolvePrefix)
}

// The memos of a run. A run that was started by hand, for example with "Start Workflow Like
// This One" in Temporal UI, has none of them.
const (
	// MemoStartedBy names the program that started the run.
	MemoStartedBy   = "started_by"
	StartedByIngest = "ingest"
	StartedByReplay = "replay"

	// MemoEventHash is the hash of the run's event (event.Event.Hash), made of its strings
	// before they were cut. If an event's id has a run already, ingest compares the hashes.
	MemoEventHash = "event_hash"

	// MemoTrackers is set by a replay. It maps targets to the identities of the trackers
	// that have their open records.
	MemoTrackers = "trackers"
)

// QueryDeliveries is the name of the query that returns the DeliveryStatus of each
// delivery of a run, open or closed.
const QueryDeliveries = "deliveries"
