package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrUndecodable says that a message is not JSON.
var ErrUndecodable = errors.New("the message is not JSON")

// Decode reads what identity and routing need from a message. The only error is
// ErrUndecodable, wrapped with what is wrong: any JSON is an event.
//
// A known member of the wrong JSON type counts as absent, and an empty id too.
func Decode(message []byte) (Event, error) {
	document := bytes.Trim(message, " \t\r\n") // JSON's white space; Unicode has more
	if len(document) == 0 {
		return Event{}, fmt.Errorf("%w: it is empty", ErrUndecodable)
	}
	if err := checkSyntax(message); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	e, format := read(message)
	if format == Other {
		for _, inside := range wrapped(document) {
			if inner, innerFormat := read([]byte(inside)); innerFormat != Other {
				inner.Format = Wrapped
				return inner.identified(own(inside, message)), nil
			}
		}
	}
	e.Format = format
	return e.identified(message), nil
}

// own are the bytes that tell a wrapped event from another: its own, so that what
// a queue adds around them makes no difference. Where they hold U+FFFD they have
// lost what stood there before, which the message still holds.
func own(inside string, message []byte) []byte {
	if strings.ContainsRune(inside, utf8.RuneError) {
		return message
	}
	return []byte(inside)
}

// checkSyntax names the byte of the message, counted from 1, at which it stops
// being JSON.
func checkSyntax(message []byte) error {
	if json.Valid(message) {
		return nil
	}
	var anything json.RawMessage
	err := json.Unmarshal(message, &anything)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("byte %d: %w", syntax.Offset, err)
	}
	return err
}

// identified gives an event without an id of its own the identity of content.
// An id with U+FFFD is none: that stands for bytes which were no text, so two
// events could share it and the second would be dropped as a duplicate.
func (e Event) identified(content []byte) Event {
	if e.ID == "" || strings.ContainsRune(e.ID, utf8.RuneError) {
		e.ID = contentID(content)
	}
	if e.Type == "" {
		e.Type = UnknownType
	}
	return e
}

// members are the members of a JSON object by their exact names, which
// encoding/json would compare without regard to case in a struct.
type members map[string]json.RawMessage

func object(raw []byte) members {
	var m members
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// text is the string member of that name; empty when there is none.
func (m members) text(name string) string {
	raw := m[name]
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// moment is the string member of that name as an ISO 8601 time with an offset;
// zero when there is none.
func (m members) moment(name string) time.Time {
	at, err := time.Parse(time.RFC3339, m.text(name)) // takes a fraction too
	if err != nil {
		return time.Time{}
	}
	return writable(at)
}

// epochMoment is the number member of that name as milliseconds since 1970; zero
// when there is none. One below 1 is an unset one: it would make the
// event half a century old.
func (m members) epochMoment(name string) time.Time {
	milliseconds, err := strconv.ParseFloat(string(m[name]), 64)
	if err != nil || milliseconds < 1 || milliseconds >= 1<<53 {
		return time.Time{} // a float64 beyond int64 converts to anything; 2^53 ms is the year 287,396
	}
	return writable(time.UnixMilli(int64(milliseconds)))
}

// writable is the time in UTC; zero when its year cannot be written as JSON
// again: such an event could never be started.
func writable(at time.Time) time.Time {
	if at = at.UTC(); at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}

// read reads a document as a flat event or as an envelope. What it finds in any
// other object of the flat event's members is kept.
func read(document []byte) (Event, Format) {
	root := object(document)
	e := readFlat(root)
	e.Document = document
	if e.ID != "" {
		return e, Flat
	}
	if detail := object(root["detail"]); detail != nil && root.text("detail-type") != "" {
		e = readEnvelope(root, detail)
		e.Document = document
		return e, Envelope
	}
	return e, Other
}

func readFlat(root members) Event {
	if root == nil {
		return Event{}
	}
	interaction := object(root["interaction"])
	published := root.moment("event_time")
	if published.IsZero() {
		published = root.epochMoment("event_time")
	}
	if published.IsZero() {
		published = root.moment("timestamp")
	}
	return Event{
		ID:            root.text("event_id"),
		Type:          root.text("event_type"),
		InteractionID: interaction.text("id"),
		ChannelType:   first(interaction.text("channel_type"), root.text("channel_type")),
		Status:        first(interaction.text("status"), root.text("status")),
		PublishedAt:   published,
	}
}

func readEnvelope(root, detail members) Event {
	body := object(detail["eventBody"])
	published := root.moment("time")
	if published.IsZero() {
		published = detail.moment("timestamp")
	}
	return Event{
		ID:            root.text("id"),
		Type:          root.text("detail-type"),
		InteractionID: body.text("conversationId"),
		ChannelType:   strings.ToLower(first(body.text("mediaType"), communicationMedia(body))),
		Status:        status(root.text("detail-type")),
		PublishedAt:   published,
	}
}

// communicationMedia is where an attributes event names its medium.
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

// statuses are the endings of a topic that tell the state of an interaction.
// Genesys Cloud has no status field; see the topics "v2.detail.events.conversation".
var statuses = []struct{ suffix, status string }{
	{"customer.start", "started"}, {"customer.end", "ended"},
	{"user.start", "user.start"}, {"user.end", "user.end"},
	{"acd.start", "acd.start"}, {"acd.end", "acd.end"},
	{"acw", "acw"}, {"wrapup", "wrapup"}, {"attributes", "attributes"}, {"contact", "contact"},
	{"flow.start", "flow.start"}, {"flow.end", "flow.end"}, {"flow.outcome", "flow.outcome"},
	{"outbound", "outbound"}, {"voicemail.start", "voicemail.start"}, {"voicemail.end", "voicemail.end"},
}

func status(topic string) string {
	for _, s := range statuses {
		if strings.HasSuffix(topic, "."+s.suffix) {
			return s.status
		}
	}
	return ""
}

// wrapped are the texts that may hold the event, in the order in which they are
// tried: a JSON string, or the members in which a queue puts it, SQS body and
// SNS Message. A body that holds no event does not hide a Message that does.
func wrapped(document []byte) []string {
	switch document[0] {
	case '"':
		var inside string
		if json.Unmarshal(document, &inside) == nil {
			return []string{inside}
		}
	case '{':
		root := object(document)
		return []string{root.text("body"), root.text("Message")}
	}
	return nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
