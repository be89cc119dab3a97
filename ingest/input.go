package ingest

import (
	"errors"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// The values of the metric label "format" for messages that are not events.
const (
	formatUndecodable = "undecodable"
	formatTombstone   = "tombstone" // a null value
)

// input returns the input of the run that a message starts, and the message's format.
func (s *messageStarter) inputOf(m *kafka.Message) (input fanout.Input, format string) {
	source := event.Source{Topic: *m.TopicPartition.Topic, Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset)}
	input = fanout.Input{Message: event.Message{Body: event.Body(m.Value), Source: source}, SearchAttributes: s.options.searchAttributes()}
	e, err := event.Decode(m.Value)
	if err != nil {
		e = event.Undecodable(source, m.Timestamp, m.Key, m.Value)
		format = formatUndecodable
		input.Undeliverable = &fanout.Undeliverable{Reason: event.ReasonUndecodable, Error: cutError(err)}
	} else {
		e = s.identify(e)
		format = string(e.Format)
		input.Targets = s.options.Targets.Choose(e)
	}
	if at := m.Timestamp.UTC(); e.PublishedAt.IsZero() && m.TimestampType != kafka.TimestampNotAvailable &&
		at.Year() >= 1 && at.Year() <= 9999 { // JSON cannot represent any other year
		e.PublishedAt = at
	}
	input.Event = e
	return input, format
}

// identify returns the event with the id that FANOUT_EVENT_ID gives it. If the expression
// gives it no id, the event is identified by its content.
func (s *messageStarter) identify(e event.Event) event.Event {
	id, err := s.options.EventID.Of(e)
	identified := e.WithID(id)
	if identified.ID == id {
		return identified
	}
	if times, due := s.logLimit.occurred("no id"); due {
		s.options.Log.Warn("FANOUT_EVENT_ID gives no id for an event, so the event is identified by its bytes; correct the expression if it should give one",
			"type", event.Escape(e.Type), "format", e.Format, "times", times, "error", err)
	}
	return identified
}

// reducedInput returns the next input to try after Temporal rejected one. For the id of
// another event, it is the input of a conflict. For rejected content, it is first the input
// without search attributes, which a frontend may not know, and then the input without the
// message, which has only the event and the position in Kafka. It returns false if there is
// nothing else to try.
func (s *messageStarter) reducedInput(input fanout.Input, rejection error) (fanout.Input, bool) {
	var conflict *ConflictError
	var content *fanout.ContentError
	switch {
	case errors.As(rejection, &conflict):
		return conflicting(input, conflict), !isConflict(input)
	case !errors.As(rejection, &content):
		return input, false
	case input.SearchAttributes && !content.TooLarge:
		input.SearchAttributes = false
		return input, true
	case input.StringsCut():
		return input, false
	}
	input = withoutMessage(input, content.Err)
	input.SearchAttributes = s.options.searchAttributes()
	return input, true
}

func isConflict(input fanout.Input) bool {
	return input.Undeliverable != nil && input.Undeliverable.Reason == event.ReasonConflict
}

// conflicting returns the input of an event whose id belongs to another event. It is
// identified by its content, which is all that distinguishes it from the other event.
func conflicting(input fanout.Input, conflict *ConflictError) fanout.Input {
	input.Event = input.Event.WithID("")
	input.Targets = nil
	return undeliverable(input, event.ReasonConflict, conflict.Error())
}

// withoutMessage returns the input of a message that Temporal rejects. It has the event, whose
// strings fanout.Start then cuts, and the message's position in Kafka.
func withoutMessage(input fanout.Input, rejection error) fanout.Input {
	text := fmt.Sprintf("Temporal rejects the message of %d bytes: %s; the message is kept only in Kafka", len(input.Body), cutError(rejection))
	input.Body, input.Targets = nil, nil
	reason := event.ReasonOversize
	if isConflict(input) {
		reason = event.ReasonConflict
	}
	return undeliverable(input, reason, text)
}

// undeliverable sets the reason why the message is not delivered. An earlier reason stays in
// the text.
func undeliverable(input fanout.Input, reason event.Reason, text string) fanout.Input {
	if input.Undeliverable != nil {
		text = input.Undeliverable.Error + "; " + text
	}
	input.Undeliverable = &fanout.Undeliverable{Reason: reason, Error: text}
	return input
}

// maxErrorLength bounds the text of an error in an input, in bytes, because an input without
// its message must be small.
const maxErrorLength = 1 << 10

// cutError returns the text of an error, cut to maxErrorLength.
func cutError(err error) string {
	text := err.Error()
	if cut := fanout.Cut(text, maxErrorLength); cut != text {
		return cut + "…"
	}
	return text
}
