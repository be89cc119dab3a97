package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Body is a message as it was received, byte for byte. Its JSON form is a string if that is
// exact and short, so that people can read it in Temporal UI. Otherwise it is
// {"base64": "…"}. A message of 1 MiB therefore stays below 1.4 MiB, whatever its bytes are.
type Body []byte

type encodedBody struct {
	Base64 []byte `json:"base64"`
}

// IsZero reports whether the body is empty.
func (b Body) IsZero() bool { return len(b) == 0 }

// MarshalJSON writes the string if it keeps every byte and is no longer than the base64
// form, and otherwise the base64 form.
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

// UnmarshalJSON reads both forms. It reads null as an empty body.
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

// stringLength returns the length of b as a JSON string, as encoding/json writes it without
// HTML escaping.
func stringLength(b []byte) int {
	length := len(b) + 2
	for i, c := range b {
		switch {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t', c == '\b', c == '\f':
			length++
		case c < 0x20:
			length += 5 // \u00XX
		case c == 0xE2 && i+2 < len(b) && b[i+1] == 0x80 && b[i+2]&^1 == 0xA8:
			length += 3 // encoding/json always escapes U+2028 and U+2029
		}
	}
	return length
}
