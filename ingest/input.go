package ingest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// The values of the metric label "format" for messages that are no event.
const (
	formatUndecodable = "undecodable"
	formatTombstone   = "tombstone" // a null value
)

// input makes the run's input of a message.
func (s *starts) input(m *kafka.Message) (in fanout.Input, format string) {
	source := event.Source{Topic: *m.TopicPartition.Topic, Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset)}
	in = fanout.Input{Message: event.Message{Body: event.Body(m.Value), Source: source}, SearchAttributes: s.options.searchAttributes()}
	e, err := event.Decode(m.Value)
	if err != nil {
		e = event.Undecodable(source, m.Timestamp, m.Key, m.Value)
		format = formatUndecodable
		in.Undeliverable = &fanout.Undeliverable{Reason: event.ReasonUndecodable, Error: bounded(err.Error())}
	} else {
		e = s.identify(e)
		format = string(e.Format)
		in.Targets = s.options.Targets.Choose(e)
	}
	if at := m.Timestamp.UTC(); e.PublishedAt.IsZero() && m.TimestampType != kafka.TimestampNotAvailable &&
		at.Year() >= 1 && at.Year() <= 9999 { // any other cannot be written as JSON
		e.PublishedAt = at
	}
	in.Event = e
	return in, format
}

// identify gives an event the id that FANOUT_EVENT_ID makes of it. An event for
// which it makes none has the identity of its content.
func (s *starts) identify(e event.Event) event.Event {
	id, err := s.options.EventID.Of(e)
	identified := e.WithID(id)
	if identified.ID == id {
		return identified
	}
	if times, due := s.anonymous.happened(); due {
		s.options.Log.Warn("FANOUT_EVENT_ID gives no id for an event, so the event is identified by its bytes; correct the expression if it should give one",
			"type", event.Escape(e.Type), "format", e.Format, "times", times, "error", err)
	}
	return identified
}

// instead returns what to start after Temporal refused an input: a conflict; the
// input without search attributes, which a frontend may not know; or what
// identifies the message, without the message. It returns false if there is
// nothing else to start.
func (s *starts) instead(in fanout.Input, err error) (fanout.Input, bool) {
	var conflict *ConflictError
	var content *fanout.ContentError
	switch {
	case errors.As(err, &conflict):
		return conflicting(in, conflict), !isConflict(in)
	case !errors.As(err, &content):
		return in, false
	case in.SearchAttributes && !content.TooLarge:
		in.SearchAttributes = false
		return in, true
	case in.Undeliverable != nil && in.Body.IsZero():
		return in, false
	}
	in = withoutMessage(in, content.Err)
	in.SearchAttributes = s.options.searchAttributes()
	return in, true
}

func isConflict(in fanout.Input) bool {
	return in.Undeliverable != nil && in.Undeliverable.Reason == event.ReasonConflict
}

// conflicting is the input of an event whose id belongs to another event. It has
// the identity of its content: all that tells it from the other.
func conflicting(in fanout.Input, conflict *ConflictError) fanout.Input {
	in.Event = in.Event.WithID("")
	in.Targets = nil
	return undeliverable(in, event.ReasonConflict, conflict.Error())
}

// withoutMessage is the input of a message that Temporal refuses: its words, which
// are bounded then, and its position.
func withoutMessage(in fanout.Input, cause error) fanout.Input {
	text := fmt.Sprintf("Temporal refuses the message of %d bytes: %s; it is kept in Kafka alone", len(in.Body), bounded(cause.Error()))
	in.Body, in.Targets = nil, nil
	reason := event.ReasonOversize
	if isConflict(in) {
		reason = event.ReasonConflict
	}
	return undeliverable(in, reason, text)
}

// undeliverable keeps what was said of the message before.
func undeliverable(in fanout.Input, reason event.Reason, text string) fanout.Input {
	if in.Undeliverable != nil {
		text = in.Undeliverable.Error + "; " + text
	}
	in.Undeliverable = &fanout.Undeliverable{Reason: reason, Error: text}
	return in
}

// longestError bounds what an error quotes of others, in bytes: an input without
// its message must be small.
const longestError = 1 << 10

func bounded(text string) string {
	if len(text) <= longestError {
		return text
	}
	return strings.ToValidUTF8(text[:longestError], "") + "…"
}
