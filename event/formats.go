package event

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
)

// read reads a document as a flat event, an envelope or a notification. For any other
// object it returns the members of a flat event that the object has, and the format Other.
func read(document []byte) (Event, Format) {
	root := object(document)
	e, format := readFlat(root), Other
	switch detail, body := object(root["detail"]), object(root["eventBody"]); {
	case e.ID != "":
		format = Flat
	case detail != nil && root.text("detail-type") != "":
		e, format = readEnvelope(root, detail), Envelope
	case body != nil && root.text("topicName") != "":
		e, format = readNotification(root, body), Notification
	}
	e.Document = document
	return e, format
}

func readFlat(root members) Event {
	if root == nil {
		return Event{}
	}
	interaction := object(root["interaction"])
	published := root.anyMoment("event_time")
	if published.IsZero() {
		published = root.moment("timestamp")
	}
	return Event{
		ID:            root.text("event_id"),
		Type:          root.text("event_type"),
		InteractionID: interaction.text("id"),
		ChannelType:   cmp.Or(interaction.text("channel_type"), root.text("channel_type")),
		Status:        cmp.Or(interaction.text("status"), root.text("status")),
		PublishedAt:   published,
	}
}

func readEnvelope(root, detail members) Event {
	published := root.moment("time")
	if published.IsZero() {
		published = detail.moment("timestamp")
	}
	e := readBody(object(detail["eventBody"]), root.text("detail-type"), published)
	e.ID = root.text("id")
	return e
}

// readNotification reads a message of Genesys Cloud's notification service. Such a message
// has no id of its own. Its topic contains the id of the object in the place where the
// detail-type of an envelope contains {id}.
func readNotification(root, body members) Event {
	return readBody(body, withoutIDs(root.text("topicName")), body.anyMoment("eventTime"))
}

// readBody reads the eventBody, which an envelope and a notification share.
func readBody(body members, topic string, published time.Time) Event {
	return Event{
		Type:          topic,
		InteractionID: body.text("conversationId"),
		ChannelType:   strings.ToLower(cmp.Or(body.text("mediaType"), communicationMedia(body))),
		Status:        status(topic),
		PublishedAt:   published,
	}
}

// withoutIDs replaces each part of a topic that is a UUID by {id}.
func withoutIDs(topic string) string {
	const uuidLength = 36 // uuid.Validate also accepts forms that Genesys does not write
	parts := strings.Split(topic, ".")
	for i, part := range parts {
		if len(part) == uuidLength && uuid.Validate(part) == nil {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, ".")
}

// communicationMedia returns the medium that an attributes event names in its
// communications.
func communicationMedia(body members) string {
	var communications []members
	if json.Unmarshal(body["communications"], &communications) != nil {
		return ""
	}
	for _, c := range communications {
		if media := c.text("mediaType"); media != "" {
			return media
		}
	}
	return ""
}

// statuses maps the endings of a topic to the status of an interaction, because Genesys
// Cloud has no status field. See the topics "v2.detail.events.conversation".
var statuses = []struct{ suffix, status string }{
	{"customer.start", "started"},
	{"customer.end", "ended"},
	{"user.start", "user.start"},
	{"user.end", "user.end"},
	{"acd.start", "acd.start"},
	{"acd.end", "acd.end"},
	{"acw", "acw"},
	{"wrapup", "wrapup"},
	{"attributes", "attributes"},
	{"contact", "contact"},
	{"flow.start", "flow.start"},
	{"flow.end", "flow.end"},
	{"flow.outcome", "flow.outcome"},
	{"outbound", "outbound"},
	{"voicemail.start", "voicemail.start"},
	{"voicemail.end", "voicemail.end"},
}

func status(topic string) string {
	for _, s := range statuses {
		if strings.HasSuffix(topic, "."+s.suffix) {
			return s.status
		}
	}
	return ""
}

// wrapped returns the documents inside a message that may be the event, in the order in
// which Decode tries them. If the message is a JSON string, it is the text of the string.
// Otherwise they are body, in which SQS puts the event; Message, in which SNS puts it; and
// payload, in which Kafka Connect's JSON converter puts it beside its schema. If body is not
// an event, Decode still tries Message.
func wrapped(document []byte) []string {
	switch document[0] {
	case '"':
		return []string{text(document)}
	case '{':
		root := object(document)
		return []string{root.text("body"), root.text("Message"), connectPayload(root)}
	}
	return nil
}

// connectPayload returns the value that Kafka Connect's JSON converter wrote beside its
// schema. The value is an object, or a string that contains one.
func connectPayload(root members) string {
	if _, ok := root["schema"]; !ok {
		return ""
	}
	return cmp.Or(root.text("payload"), string(root["payload"]))
}
