// Package deadletter keeps the deliveries that were given up: one Record per
// delivery, in a tracker that loses none.
//
// Recording deletes nothing. A record that is no longer open moves to superseded/,
// resolved/ or discarded/, and only Closed.Delete removes it from there. A file
// that cannot be read is left as it is.
package deadletter

import (
	"encoding/json"
	"time"

	"genesys-fanout/event"
)

// Record is one dead letter, as its file holds it.
type Record struct {
	EventID       string          `json:"event_id"`
	TargetName    string          `json:"target_name"`
	Error         string          `json:"error"` // with at most 2 KiB of the answer
	Reason        event.Reason    `json:"reason"`
	StatusCode    int             `json:"status_code"`             // of the last answer; 0 when there was none
	Attempts      int             `json:"attempts"`                // requests sent in this run
	Timestamp     time.Time       `json:"timestamp"`               // when it was given up
	Payload       json.RawMessage `json:"payload"`                 // null where the message is no JSON, or was not kept
	PayloadBase64 []byte          `json:"payload_base64,omitzero"` // "" is a message of no bytes
	EventType     string          `json:"event_type"`
	InteractionID string          `json:"interaction_id"`
	WorkflowID    string          `json:"workflow_id"`
	RunID         string          `json:"run_id"`
	Source        event.Source    `json:"source"`

	ResolvedAt    *time.Time `json:"resolved_at,omitempty"`     // set in resolved/ only
	ResolvedRunID string     `json:"resolved_run_id,omitempty"` // the run that delivered it after all

	DiscardedAt *time.Time `json:"discarded_at,omitempty"` // set in discarded/ only
	DiscardedBy string     `json:"discarded_by,omitempty"` // the operating system's name of the user
	Note        string     `json:"note,omitempty"`         // why nobody will send it
}

// EscapedID is the event's id as logs and lists of people print it, the same that
// the event's workflow ID holds.
func (r *Record) EscapedID() string {
	if r.TargetName == event.OversizeTarget { // its id may be cut already
		return event.EscapeCut(r.EventID)
	}
	return event.Escape(r.EventID)
}
