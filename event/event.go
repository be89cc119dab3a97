// Package event knows what a Genesys Cloud interaction event is: the shapes in
// which one arrives on Kafka, what identifies it, and how its identifiers are
// written where only some bytes are allowed.
//
// The package refuses to change a message. Decode reads what identity and
// routing need and leaves the bytes alone: what a target receives is what Kafka
// held. It knows nothing of Kafka clients, Temporal or HTTP, and imports
// nothing but the standard library and uuid.
package event

import "time"

// Format names the shape in which an event arrived. It is also the value of the
// metric label "format".
type Format string

// The formats, told apart by the members of the JSON document.
const (
	Flat         Format = "flat"         // has a string event_id
	Envelope     Format = "envelope"     // Amazon EventBridge: has detail-type and detail
	Notification Format = "notification" // Genesys Cloud's notification service: has topicName and eventBody
	Wrapped      Format = "wrapped"      // one of the above in a JSON string, in body or Message, or in payload beside schema
	Other        Format = "other"        // any other JSON
)

// UnknownType is the Type of an event that does not say its own.
const UnknownType = "unknown"

// Event is what the fan-out needs to know of one message: its identity and its
// routing. Strings hold the original text; Escape writes them for headers,
// workflow IDs and search attributes, EscapeFileName for file names.
type Event struct {
	ID            string    `json:"id"`
	Type          string    `json:"type"`
	InteractionID string    `json:"interaction_id,omitempty"`
	ChannelType   string    `json:"channel_type,omitempty"`
	Status        string    `json:"status,omitempty"`
	Format        Format    `json:"format,omitempty"`
	PublishedAt   time.Time `json:"published_at,omitzero"` // the event's own time, else Kafka's timestamp; zero when neither is known

	// Document is the JSON of the event itself: the message without a byte order
	// mark, or what a wrapped message holds inside. It may alias the message, and
	// never enters Temporal.
	Document []byte `json:"-"`

	content   []byte // of a decoded event: the bytes that ContentID is made of
	byContent bool   // ID was made of bytes, and is not the producer's word
}
