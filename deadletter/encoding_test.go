package deadletter

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Programs in any language can then read the file.
func TestRecord_FileIsValidUTF8AndNotMuchLargerThanTheMessage(t *testing.T) {
	for _, message := range []string{"{\"a\":\"\xff\"}", strings.Repeat("[", 5000) + strings.Repeat("]", 5000)} {
		d, path := openTracker(t)
		record := newRecord("a", "run-1")
		SetPayload(&record, []byte(message))
		require.NoError(t, d.Record(t.Context(), record))
		data, err := os.ReadFile(filepath.Join(path, FileName("compliance-service", "a")))
		require.NoError(t, err)
		assert.True(t, utf8.Valid(data))
		assert.Less(t, len(data), len(message)+maxIndent)
		got, err := d.Get("compliance-service", "a")
		require.NoError(t, err)
		assert.Equal(t, message, string(got.Message()))
	}
}

// If somebody edits payload or payload_base64 alone, it is unknown which one is right.
func TestGet_ReportsARecordWhosePayloadsDiffer(t *testing.T) {
	for _, message := range []string{`{"a": 1, "b": "<x>"}`, "{\"a\":\"\xff\"}", `{"a":1.0,"text":"`} {
		record := newRecord("evt-1", "run-1")
		SetPayload(&record, []byte(message))
		d, path := openTracker(t)
		require.NoError(t, d.Record(t.Context(), record))
		got, err := d.Get("compliance-service", "evt-1")
		require.NoError(t, err)
		assert.Equal(t, message, string(got.Message()))
		if record.Payload == nil {
			continue
		}
		edited := got
		edited.Payload = []byte(`{"a":2}`)
		data, err := encode(edited)
		require.NoError(t, err)
		file := filepath.Join(path, FileName("compliance-service", "evt-1"))
		require.NoError(t, os.WriteFile(file, data, 0o600))
		_, err = d.Get("compliance-service", "evt-1")
		require.ErrorAs(t, err, new(*DamagedError))
		assert.ErrorContains(t, err, file+": damaged dead letter: its payload and its payload_base64 are not the same message")
	}
}

func TestDamagedError_Unwraps(t *testing.T) {
	inner := errors.New("inner")
	assert.ErrorIs(t, &DamagedError{File: "x", Err: inner}, inner)
}
