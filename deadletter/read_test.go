package deadletter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func TestTargets(t *testing.T) {
	d, path := open(t)
	none, err := d.Targets(t.Context())
	require.NoError(t, err)
	assert.Empty(t, none)
	for _, target := range []string{"b-2", "a", event.UndecodableTarget, event.OversizeTarget} {
		for _, id := range []string{"evt_1", "_evt.2"} {
			record := letter(id, "run-1")
			record.TargetName = target
			require.NoError(t, d.Record(t.Context(), record))
		}
	}
	for _, name := range []string{"notes.txt", "notes.json", "No_target.json", "_x_1.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}

	targets, err := d.Targets(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{event.OversizeTarget, event.UndecodableTarget, "a", "b-2"}, targets)

	require.NoError(t, os.Remove(filepath.Join(path, FileName("b-2", "evt_1"))))
	open, err := d.OpenTargets(t.Context(), "evt_1")
	require.NoError(t, err)
	assert.Equal(t, []string{event.OversizeTarget, event.UndecodableTarget, "a"}, open)
	open, err = d.OpenTargets(t.Context(), "evt_3")
	require.NoError(t, err)
	assert.Empty(t, open)

	var of []string
	for record, err := range d.All(t.Context(), "a", "b-2") {
		require.NoError(t, err)
		of = append(of, record.TargetName+" "+record.EventID)
	}
	assert.ElementsMatch(t, []string{"a evt_1", "a _evt.2", "b-2 _evt.2"}, of)
}

// TestHalfEdited: where a message stands in both forms and somebody changed one,
// which of them is meant cannot be told.
func TestHalfEdited(t *testing.T) {
	for _, message := range []string{`{"a": 1, "b": "<x>"}`, "{\"a\":\"\xff\"}", `{"a":1.0,"text":"`} {
		record := letter("evt-1", "run-1")
		SetPayload(&record, []byte(message))
		d, path := open(t)
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

// TestExisting makes nothing where there is nothing.
func TestExisting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead-letters")
	_, err := OpenExisting(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.NoDirExists(t, path)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = OpenExisting(path)
	require.ErrorContains(t, err, "is not a directory")
}
