package fanout

import (
	"time"

	"genesys-fanout/event"
)

// RecordDeadLetterInput describes a delivery that was given up.
type RecordDeadLetterInput struct {
	Target   string       `json:"target"`
	Reason   event.Reason `json:"reason"`
	Progress Progress     `json:"progress"`

	// The event and the body are absent if they are large. Then the activity reads them
	// from the run's history.
	event.Message
	NoBody bool      `json:"no_body,omitempty"` // true if the run itself has no body
	At     time.Time `json:"at"`                // when the delivery was given up

	// RecordLocation says where the earlier run's record is. The new record replaces that
	// record, so that a delivery has at most one open record.
	RecordLocation
}

// RecordDeadLetterResult is the result of RecordDeadLetter. The activity returns it once
// the record is durable.
type RecordDeadLetterResult struct {
	Tracker string `json:"tracker,omitempty"` // the identity of the tracker that has the record
}

// RecordLocation says which tracker has the record that an earlier run left of a delivery.
// The zero value means that there is no such record, so any worker may execute the activity.
type RecordLocation struct {
	Tracker string `json:"tracker,omitempty"` // the tracker's identity

	// Unknown is true if the run did not call Outstanding, for example after a reset to a
	// later point. Then the activity reads how the previous run ended.
	Unknown bool `json:"tracker_unknown,omitempty"`
}

// OutstandingInput asks which deliveries of an event have an open record.
type OutstandingInput struct {
	Event   event.Event `json:"event,omitzero"` // if absent, the activity reads it from the run's history
	Targets []string    `json:"targets"`        // the targets of the run

	// TrackersKnown is true if Trackers is complete and the earlier runs settled every
	// delivery. Then the activity does not read the previous run. Otherwise it reads the
	// previous run and ignores Trackers.
	TrackersKnown bool `json:"trackers_known,omitempty"`

	// Trackers maps each target to the identity of the tracker that may have its open record.
	Trackers map[string]string `json:"trackers,omitempty"`
}

// OutstandingResult lists the open records that one tracker has of an event.
type OutstandingResult struct {
	// Settled is false if the previous run may have left a delivery that was neither
	// delivered nor recorded.
	Settled bool     `json:"settled"`
	Targets []string `json:"targets,omitempty"` // the targets with an open record in this tracker, sorted
	Tracker string   `json:"tracker,omitempty"` // the identity of this tracker

	// Elsewhere maps each target whose records are in another tracker than this one to the
	// identity of that tracker. The run next asks a worker that has one of these trackers.
	Elsewhere map[string]string `json:"elsewhere,omitempty"`
}

// ResolveDeadLetterInput describes a delivery that succeeded after a dead letter had been
// recorded for it.
type ResolveDeadLetterInput struct {
	Target         string      `json:"target"`
	Event          event.Event `json:"event,omitzero"` // if absent, the activity reads it from the run's history
	At             time.Time   `json:"at"`             // when the event was delivered
	RecordLocation             // the tracker that has the record
}

// ResolveDeadLetterResult says whether the record was closed.
type ResolveDeadLetterResult struct {
	Damaged string `json:"damaged,omitempty"` // set if the record stays open because its file is damaged: the error
	Tracker string `json:"tracker,omitempty"` // the identity of the tracker that has the damaged file
}
