package deadletter

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSetPayload_AddsBase64IfReencodingWouldChangeTheMessage(t *testing.T) {
	for message, exact := range map[string]bool{
		`{"a":1,"b":[true,null,"x<y"],"c":1.5}`: true,
		`{"a": 1}`:                              false,
		`{"a":1e2}`:                             false,
		`{"a":1.0}`:                             false,
		`{"a":-0}`:                              false,
		`{"a":9007199254740993}`:                false,
		`{"a":1,"a":2}`:                         false,
		`{"a":"\u0041"}`:                        false,
		`{"a":"\/"}`:                            false,
		`{"a":"é"}`:                             true,
		"{\"a\":\"\xff\"}":                      false,
		`null`:                                  false,
		"\uFEFF" + `{"a":1}`:                    false,
		"\uFEFF{\"a\":\"\xff\"}":                false,
		"\uFEFFhello":                           false,
		"hello":                                 false,
	} {
		var record Record
		SetPayload(&record, []byte(message))
		assert.Equal(t, exact, record.PayloadBase64 == nil, message)
		assert.Equal(t, message, string(record.Message()))
		assert.Equal(t, json.Valid([]byte(strings.TrimPrefix(message, "\uFEFF"))), record.Payload != nil, message)
	}
	var noText Record
	SetPayload(&noText, []byte("{\"a\":\"\xff\"}"))
	assert.True(t, utf8.Valid(noText.Payload), "the file is valid UTF-8")
	var none Record
	SetPayload(&none, nil)
	assert.Nil(t, none.Message())
	SetPayload(&none, []byte{})
	assert.NotNil(t, none.Message(), "a message of 0 bytes is a message")
}

func FuzzMessage_ComesBackByteForByte(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,2.5,"x"]}}`))
	f.Add([]byte("{\"a\":\"\u2028\"}"))
	f.Add([]byte("\xff"))
	f.Add([]byte{})
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, message []byte) {
		d, err := Open(t.TempDir())
		require.NoError(t, err)
		record := newRecord("evt-1", "run-1")
		SetPayload(&record, message)
		require.NoError(t, d.Record(t.Context(), record))
		got, err := d.Get("compliance-service", "evt-1")
		require.NoError(t, err)
		require.Equal(t, message, got.Message())
	})
}
