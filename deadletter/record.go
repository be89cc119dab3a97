package deadletter

import (
	"encoding/json"
	"time"

	"genesys-fanout/event"
)

// Record is one dead letter, with the fields of its file.
type Record struct {
	EventID       string          `json:"event_id"`
	TargetName    string          `json:"target_name"`
	Error         string          `json:"error"` // with at most 2 KiB of the answer
	Reason        event.Reason    `json:"reason"`
	StatusCode    int             `json:"status_code"`             // of the last answer; 0 if the target never answered
	Attempts      int             `json:"attempts"`                // requests sent in this run
	Timestamp     time.Time       `json:"timestamp"`               // when the delivery was given up
	Payload       json.RawMessage `json:"payload"`                 // null if the message is not JSON, or is not in the record
	PayloadBase64 []byte          `json:"payload_base64,omitzero"` // not nil but empty for a message of 0 bytes
	EventType     string          `json:"event_type"`
	InteractionID string          `json:"interaction_id"`
	WorkflowID    string          `json:"workflow_id"`
	RunID         string          `json:"run_id"`
	Source        event.Source    `json:"source"`

	ResolvedAt    *time.Time `json:"resolved_at,omitempty"`     // set in resolved/ only
	ResolvedRunID string     `json:"resolved_run_id,omitempty"` // the run that delivered the event

	DiscardedAt *time.Time `json:"discarded_at,omitempty"` // set in discarded/ only
	DiscardedBy string     `json:"discarded_by,omitempty"` // the operating system's name of the user
	Note        string     `json:"note,omitempty"`         // why nobody will send the event
}

// EscapedID returns the event's id as logs and lists print it. The event's workflow ID has
// the id in the same form.
func (r *Record) EscapedID() string {
	if r.TargetName == event.OversizeTarget { // its id may be cut already
		return event.EscapeCut(r.EventID)
	}
	return event.Escape(r.EventID)
}
