package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// SetPayload keeps a message in the record: as JSON where it is JSON, and as
// base64 too where a reader that parses the JSON and writes it again would not
// come back to the same bytes. A nil message is one that is not kept.
func SetPayload(record *Record, message []byte) {
	record.Payload, record.PayloadBase64 = nil, nil
	document := bytes.TrimPrefix(message, []byte("\uFEFF")) // a byte order mark is no JSON
	switch {
	case message == nil:
	case !json.Valid(document):
		record.PayloadBase64 = message
	case !utf8.Valid(document): // Go takes it for JSON; other readers of the file would not
		record.Payload = bytes.ToValidUTF8(document, []byte("\uFFFD"))
		record.PayloadBase64 = message
	default:
		record.Payload = document
		if len(document) < len(message) || !canonical(document) {
			record.PayloadBase64 = message
		}
	}
}

// Message is the message of the record, byte for byte; nil when it was not kept.
func (r *Record) Message() []byte {
	if r.PayloadBase64 != nil {
		return r.PayloadBase64
	}
	if len(r.Payload) == 0 || string(r.Payload) == "null" {
		return nil
	}
	var compact bytes.Buffer // the file is indented
	if json.Compact(&compact, r.Payload) != nil {
		return nil
	}
	return compact.Bytes()
}

// consistent is false where somebody edited one form of the message and not the
// other: which of the two was meant cannot be told.
func (r *Record) consistent() bool {
	if r.Payload == nil || r.PayloadBase64 == nil {
		return true
	}
	var again Record
	SetPayload(&again, r.PayloadBase64)
	var kept, want bytes.Buffer
	return again.Payload != nil && json.Compact(&kept, r.Payload) == nil && json.Compact(&want, again.Payload) == nil &&
		bytes.Equal(kept.Bytes(), want.Bytes())
}

// canonical tells whether parsing valid JSON and writing it again, compactly
// and with its members in order, gives the same bytes whatever the language: no
// white space, no needless escape, no number with a second spelling, no member
// twice. A lone null cannot be told from an absent payload.
func canonical(message []byte) bool {
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

var errAmbiguous = errors.New("not the same everywhere")

// rewriter writes what it parses. It stops where two languages would differ.
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
		if !plainNumber(v.String()) {
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
		// U+2028 and U+2029 some writers escape always, U+007F some, and
		// U+FFFD stands for bytes that were not UTF-8.
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

// plainNumber is true for numbers that every language writes as they stand here:
// integers that a double holds exactly, and short decimals.
func plainNumber(s string) bool {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n > -1<<53 && n < 1<<53 && strconv.FormatInt(n, 10) == s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || (f > -1e-4 && f < 1e-4) || f >= 1e15 || f <= -1e15 {
		return false
	}
	return strconv.FormatFloat(f, 'f', -1, 64) == s
}
