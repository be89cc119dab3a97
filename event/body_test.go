package event

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBody_IsAStringOrBase64InJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":"<b>&"}`:                   `"{\"a\":\"<b>&\"}"`,
		"\xff\xfe":                       `{"base64":"//4="}`,
		strings.Repeat("\x01", 4):        `{"base64":"AQEBAQ=="}`,
		"line\nline \u2028 and é":        `"line\nline \u2028 and é"`,
		strings.Repeat("\u2028", 100000): "",
	} {
		got, err := Body(in).MarshalJSON()
		require.NoError(t, err)
		if want != "" {
			assert.Equal(t, want, string(got))
		}
		assert.LessOrEqual(t, len(got), len(in)*4/3+40, "never longer than base64")
	}
}

func TestBody_ReadsNullAsEmpty(t *testing.T) {
	var in struct {
		Body Body `json:"body,omitzero"`
	}
	require.NoError(t, json.Unmarshal([]byte(`{"body":null}`), &in))
	assert.True(t, in.Body.IsZero())
	out, err := json.Marshal(in)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(out))
	for _, wrong := range []string{`{"body":7}`, `{"body":{"base46":"YQ=="}}`} {
		assert.ErrorContains(t, json.Unmarshal([]byte(wrong), &in), "base64")
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("a\u2028\u2029\u2027\xe2\x80"))
	f.Add([]byte("\x00\x01\x7f\"\\/<>&\b\f"))
	f.Fuzz(func(t *testing.T, message []byte) {
		in := Body(message)
		direct, err := in.MarshalJSON()
		require.NoError(t, err)
		if direct[0] == '"' {
			require.Len(t, direct, stringLength(message))
		}
		escaped, err := json.Marshal(in) // the SDK's own converter writes it like this
		require.NoError(t, err)
		for _, form := range [][]byte{direct, escaped} {
			var out Body
			require.NoError(t, json.Unmarshal(form, &out))
			require.True(t, bytes.Equal(message, out))
		}
	})
}
