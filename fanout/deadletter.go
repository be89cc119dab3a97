package fanout

import (
	"time"

	"genesys-fanout/event"
)

// RecordDeadLetterInput is a delivery that was given up.
type RecordDeadLetterInput struct {
	Target   string       `json:"target"`
	Reason   event.Reason `json:"reason"`
	Progress Progress     `json:"progress"`

	// Event and body are absent if they are large. Then the activity reads them from
	// the run's history.
	event.Message
	NoBody bool      `json:"no_body,omitempty"` // the run itself has none
	At     time.Time `json:"at"`                // when the delivery was given up

	// The record of an earlier run, which the new one replaces: so a delivery has one
	// open record at most.
	RecordHolder
}

// RecordDeadLetterResult is the result of RecordDeadLetter, which returns once the
// record is durable.
type RecordDeadLetterResult struct {
	Tracker string `json:"tracker,omitempty"` // the identity of the tracker that has the record
}

// RecordHolder names the tracker that has the record which an earlier run left of a
// delivery. The zero value is for a delivery without such a record: any tracker
// answers.
type RecordHolder struct {
	Tracker string `json:"tracker,omitempty"` // its identity

	// Unknown is true if the run did not ask Outstanding, as after a reset to a later
	// point. Then the activity looks at the run before it.
	Unknown bool `json:"holder_unknown,omitempty"`
}

// OutstandingInput asks which deliveries of an event have an open record.
type OutstandingInput struct {
	Event   event.Event `json:"event,omitzero"` // absent: read from the run's history
	Targets []string    `json:"targets"`        // of the run

	// Settled is true if the runs before this one are known to have settled every
	// delivery, or if this run has looked at them already. Otherwise the activity
	// looks at the run before this one, and not at Trackers.
	Settled  bool              `json:"settled,omitempty"`
	Trackers map[string]string `json:"trackers,omitempty"` // by target: the identity of the tracker that may have its open record
}

// OutstandingResult is what a tracker has of an event.
type OutstandingResult struct {
	// Settled is false if some delivery of the run before may have been neither
	// delivered nor recorded.
	Settled bool     `json:"settled"`
	Targets []string `json:"targets,omitempty"` // with an open record in this tracker, sorted
	Tracker string   `json:"tracker,omitempty"` // its identity

	// Elsewhere are the identities of the trackers, by target, that this one does
	// not answer for: the run asks a worker that has them next.
	Elsewhere map[string]string `json:"elsewhere,omitempty"`
}

// ResolveDeadLetterInput is a delivery that succeeded after a dead letter of it had
// been recorded.
type ResolveDeadLetterInput struct {
	Target       string      `json:"target"`
	Event        event.Event `json:"event,omitzero"` // absent: read from the run's history
	At           time.Time   `json:"at"`             // when it was delivered
	RecordHolder             // of the record
}

// ResolveDeadLetterResult says whether the record is closed.
type ResolveDeadLetterResult struct {
	Damaged string `json:"damaged,omitempty"` // why the record stays open: its file holds none
	Tracker string `json:"tracker,omitempty"` // the identity of the tracker that has the damaged file
}
