package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Body is a message as it was received. As JSON it is a string where that is
// exact and short, so that people can read it in Temporal UI, and otherwise
// {"base64": "…"}: a message of 1 MiB stays below 1.4 MiB whatever its bytes.
type Body []byte

type encodedBody struct {
	Base64 []byte `json:"base64"`
}

// IsZero is true for a body without bytes.
func (b Body) IsZero() bool { return len(b) == 0 }

// MarshalJSON writes the shorter of the two forms that keeps every byte.
func (b Body) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) && stringLength(b) <= len(`{"base64":""}`)+base64.StdEncoding.EncodedLen(len(b)) {
		var text bytes.Buffer
		text.Grow(len(b) + len(b)/8 + 2)
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(string(b)); err != nil {
			return nil, err
		}
		return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
	}
	return json.Marshal(encodedBody{Base64: b})
}

// UnmarshalJSON reads both forms, and null as no body.
func (b *Body) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var encoded encodedBody
		if err := json.Unmarshal(data, &encoded); err != nil {
			return fmt.Errorf("body: %w; it is a string or {\"base64\": \"…\"}", err)
		}
		if encoded.Base64 == nil {
			return errors.New(`body: base64 is missing; it is a string or {"base64": "…"}`)
		}
		*b = encoded.Base64
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("body: %w; it is a string or {\"base64\": \"…\"}", err)
	}
	*b = []byte(text)
	return nil
}

// stringLength is the length of b as a JSON string as encoding/json writes it
// without HTML escaping.
func stringLength(b []byte) int {
	length := len(b) + 2
	for i, c := range b {
		switch {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t', c == '\b', c == '\f':
			length++
		case c < 0x20:
			length += 5 // \u00XX
		case c == 0xE2 && i+2 < len(b) && b[i+1] == 0x80 && b[i+2]&^1 == 0xA8:
			length += 3 // U+2028 and U+2029 are escaped always
		}
	}
	return length
}
