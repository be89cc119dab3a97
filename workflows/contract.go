package workflows

import (
	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// DefaultTaskQueue is where FanOut's workflow tasks wait unless FANOUT_TASK_QUEUE says otherwise.
const DefaultTaskQueue = "genesys-fanout"

// TargetQueue names the queue of one target's retry lane.
func TargetQueue(taskQueue, target string) string { return taskQueue + "/target/" + target }

// DeadLetterQueue names the queue on which dead letters are recorded.
func DeadLetterQueue(taskQueue string) string { return taskQueue + "/dead-letter" }

// ID is the workflow ID of an event: one event, one ID, so that a redelivered
// message finds its run already there.
func ID(eventID string) string { return "event-" + event.Escape(eventID) }

// The memo that tells who started a run; a run without it was started by hand.
const (
	MemoStartedBy   = "started_by"
	StartedByIngest = "ingest"
	StartedByReplay = "replay"
)

// DeadLettered is the type of the ApplicationError with which a run fails that
// leaves dead letters behind.
const DeadLettered = "DeadLettered"

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
	Reason deadletter.Reason `json:"reason"` // Undecodable or Oversize
	Error  string            `json:"error"`
}

// Result is what a run that delivered everything ends with.
type Result struct {
	Delivered []string `json:"delivered"` // target names, in the input's order
}
