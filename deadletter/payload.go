package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// SetPayload puts a message into the record. If the message is JSON, it is in Payload as
// JSON. If it is not, or if a reader that parses the JSON and writes it again could get
// other bytes, it is in PayloadBase64 too. A nil message means that the record has none.
func SetPayload(record *Record, message []byte) {
	record.Payload, record.PayloadBase64 = nil, nil
	document := bytes.TrimPrefix(message, []byte("\uFEFF")) // JSON has no byte order mark
	switch {
	case message == nil:
	case !json.Valid(document):
		record.PayloadBase64 = message
	case !utf8.Valid(document): // Go accepts it as JSON, other readers of the file would not
		record.Payload = bytes.ToValidUTF8(document, []byte("\uFFFD"))
		record.PayloadBase64 = message
	default:
		record.Payload = document
		if len(document) < len(message) || !survivesReencoding(document) {
			record.PayloadBase64 = message
		}
	}
}

// Message returns the message of the record, byte for byte, or nil if the record has none.
func (r *Record) Message() []byte {
	if r.PayloadBase64 != nil {
		return r.PayloadBase64
	}
	if len(r.Payload) == 0 || string(r.Payload) == "null" {
		return nil
	}
	var compact bytes.Buffer // without the indentation of the file
	if json.Compact(&compact, r.Payload) != nil {
		return nil
	}
	return compact.Bytes()
}

// payloadsAgree reports whether both forms of the message, if the record has both, are the
// same message. They are not if somebody edited only one of them, and then it is unknown
// which one is right.
func (r *Record) payloadsAgree() bool {
	if r.Payload == nil || r.PayloadBase64 == nil {
		return true
	}
	var want Record
	SetPayload(&want, r.PayloadBase64)
	var got, wanted bytes.Buffer
	return want.Payload != nil && json.Compact(&got, r.Payload) == nil && json.Compact(&wanted, want.Payload) == nil &&
		bytes.Equal(got.Bytes(), wanted.Bytes())
}

// survivesReencoding reports whether a program in any language that parses the JSON, and
// writes it again compactly with its members in the same order, gets the same bytes. It is
// false if the message has white space, an escape that is not needed, a number with another
// spelling, or two members of one name. It is false for null too, because a payload of null
// means that there is none.
func survivesReencoding(message []byte) bool {
	if string(message) == "null" {
		return false
	}
	w := rewriter{decoder: json.NewDecoder(bytes.NewReader(message))}
	w.decoder.UseNumber()
	if w.value() != nil {
		return false
	}
	if _, err := w.decoder.Token(); !errors.Is(err, io.EOF) {
		return false
	}
	return bytes.Equal(w.out.Bytes(), message)
}

var errAmbiguous = errors.New("languages write this value in different ways")

// rewriter parses JSON and writes it again. It returns errAmbiguous at the first value that
// two languages may write in different ways.
type rewriter struct {
	decoder *json.Decoder
	out     bytes.Buffer
}

func (w *rewriter) value() error {
	token, err := w.decoder.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return w.object()
		}
		return w.array()
	case string:
		return w.text(v)
	case json.Number:
		if !canonicalNumber(v.String()) {
			return errAmbiguous
		}
		w.out.WriteString(v.String())
	case bool:
		w.out.WriteString(strconv.FormatBool(v))
	case nil:
		w.out.WriteString("null")
	}
	return nil
}

func (w *rewriter) object() error {
	seen := make(map[string]bool)
	w.out.WriteByte('{')
	for w.decoder.More() {
		if len(seen) > 0 {
			w.out.WriteByte(',')
		}
		token, err := w.decoder.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok || seen[name] {
			return errAmbiguous
		}
		seen[name] = true
		if err := w.text(name); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if err := w.value(); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	_, err := w.decoder.Token()
	return err
}

func (w *rewriter) array() error {
	w.out.WriteByte('[')
	for i := 0; w.decoder.More(); i++ {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.value(); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	_, err := w.decoder.Token()
	return err
}

func (w *rewriter) text(s string) error {
	for _, c := range s {
		// Some writers escape U+2028, U+2029 and U+007F, and a decoder writes U+FFFD for
		// bytes that are not UTF-8.
		if c < 0x20 || c == 0x7F || c == 0x2028 || c == 0x2029 || c == 0xFFFD {
			return errAmbiguous
		}
	}
	encoder := json.NewEncoder(&w.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return err
	}
	w.out.Truncate(w.out.Len() - 1) // the encoder's newline
	return nil
}

// canonicalNumber reports whether every language writes a number in this form. That is so for
// integers that a double represents exactly, and for short decimals.
func canonicalNumber(s string) bool {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n > -1<<53 && n < 1<<53 && strconv.FormatInt(n, 10) == s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || (f > -1e-4 && f < 1e-4) || f >= 1e15 || f <= -1e15 {
		return false
	}
	return strconv.FormatFloat(f, 'f', -1, 64) == s
}
