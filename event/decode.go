package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrUndecodable is the error of Decode if a message is not JSON.
var ErrUndecodable = errors.New("the message is not JSON")

// byteOrderMark is U+FEFF in UTF-8, which some producers write before the JSON.
const byteOrderMark = "\uFEFF"

// whitespace lists the characters that JSON allows around a document. Unicode has more.
const whitespace = " \t\r\n"

// Decode reads the identity and the routing of an event from a message. Any JSON document
// is an event, and a byte order mark before it is ignored. A known member of the wrong JSON
// type counts as absent, and so does an empty id.
//
// The only error is ErrUndecodable. It is wrapped with the byte at which the message stops
// being JSON. If the bytes are of a known kind, it also names the producer's setting that
// cures the problem.
func Decode(message []byte) (Event, error) {
	document := bytes.TrimPrefix(message, []byte(byteOrderMark))
	trimmed := bytes.Trim(document, whitespace)
	if len(trimmed) == 0 {
		return Event{}, fmt.Errorf("%w: it is empty", ErrUndecodable)
	}
	if err := checkSyntax(document); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrUndecodable, explain(message, err))
	}
	e, format := read(document)
	if format == Other {
		for _, inside := range wrapped(trimmed) {
			inside = strings.TrimPrefix(inside, byteOrderMark)
			if inner, innerFormat := read([]byte(inside)); innerFormat != Other {
				inner.Format = Wrapped
				return inner.identified(own(inside, document)), nil
			}
		}
	}
	e.Format = format
	return e.identified(document), nil
}

// own returns the bytes that distinguish a wrapped event from others. These are the bytes of
// the event itself, so that the members which a queue adds around it make no difference. If
// they contain U+FFFD, it returns the whole message, because unwrapping has lost bytes that
// only the message still has.
func own(inside string, message []byte) []byte {
	if strings.ContainsRune(inside, utf8.RuneError) {
		return message
	}
	return []byte(inside)
}

// checkSyntax returns encoding/json's error for a document that is not JSON.
func checkSyntax(document []byte) error {
	if json.Valid(document) {
		return nil
	}
	var anything json.RawMessage
	return json.Unmarshal(document, &anything)
}

// identified returns the event with its content set. An event without an id gets its
// ContentID, and one without a type gets UnknownType.
func (e Event) identified(content []byte) Event {
	e.content = content
	if e.Type == "" {
		e.Type = UnknownType
	}
	return e.WithID(e.ID)
}
