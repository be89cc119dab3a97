// Package event reads the interaction events of Genesys Cloud. It knows the shapes in which
// an event arrives on Kafka, how an event is identified, and how its identifiers are escaped
// for places that allow only some bytes. It also defines the reasons for which a delivery is
// given up, and the reserved target names (reason.go).
//
// The package never changes a message. Decode reads the members that identity and
// routing need and leaves the bytes as they are, so that a target receives exactly the bytes
// that Kafka stored. The package knows nothing of Kafka clients, Temporal or HTTP. It imports
// only the standard library and uuid.
//
// The files, in the order in which a message meets them:
//
//	decode.go       Decode: from the bytes of a message to an Event
//	formats.go      the members that each format has, and the events inside wrapped messages
//	members.go      read single members of a JSON object
//	undecodable.go  what a message that is not JSON probably is, and the cure
//	event.go        Event and Format
//	identity.go     the ids that this project assigns, and the hash that compares two events
//	message.go      Message and Source: the event, its bytes and its position in Kafka
//	body.go         the bytes of a message in the JSON of a payload
//	escape.go       the escaped forms of identifiers, and their limit of 160 bytes
//	reason.go       the reasons for which a delivery is given up, and the reserved target names
//
// Package shapes, in the folder shapes, has a message of each topic family.
package event

import "time"

// Format names the shape in which an event arrived. It is also the value of the
// metric label "format".
type Format string

// The formats. The members of the JSON document distinguish them.
const (
	Flat         Format = "flat"         // has a string event_id
	Envelope     Format = "envelope"     // Amazon EventBridge: has detail-type and detail
	Notification Format = "notification" // Genesys Cloud's notification service: has topicName and eventBody
	Wrapped      Format = "wrapped"      // contains one of the above in a JSON string, in body or Message, or in payload beside schema
	Other        Format = "other"        // any other JSON
)

// UnknownType is the Type of an event that does not name its type.
const UnknownType = "unknown"

// Event is the identity and the routing of one message, which is all that the fan-out needs
// to know of it. The strings contain the original text. Escape writes them for headers, workflow
// IDs and search attributes, and EscapeFileName for file names.
type Event struct {
	ID            string    `json:"id"`
	Type          string    `json:"type"`
	InteractionID string    `json:"interaction_id,omitempty"`
	ChannelType   string    `json:"channel_type,omitempty"`
	Status        string    `json:"status,omitempty"`
	Format        Format    `json:"format,omitempty"`
	PublishedAt   time.Time `json:"published_at,omitzero"` // the event's own time, otherwise Kafka's timestamp; zero if neither is known

	// Document is the JSON of the event itself. It is the message without a byte order
	// mark, or the inner document of a wrapped message. It may alias the message, and it
	// is never sent to Temporal.
	Document []byte `json:"-"`

	content   []byte // the bytes that ContentID is made of; only a decoded event has them
	byContent bool   // true if ID was made of bytes and did not come from the producer
}
