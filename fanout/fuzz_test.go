package fanout

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"

	"genesys-fanout/event/shapes"
)

// Any JSON in the input of a run, which a user may write by hand, is an input or an error. An input that
// was read comes back as it is, and its workflow ID is one that Temporal accepts.
func FuzzInput(f *testing.F) {
	f.Add([]byte(`{"event":{"id":"evt-1","type":"a"},"body":"{}","targets":[{"target":"a"}],"search_attributes":true}`))
	f.Add([]byte(`{"undeliverable":{"reason":"oversize","error":"x"},"body":{"base64":"/w=="}}`))
	f.Add([]byte(`{"event":{"id":"\ud800"},"targets":[{"backoff":{"initial":"-1s"}}]}`))
	entries, err := shapes.Files.ReadDir(".")
	require.NoError(f, err)
	for _, entry := range entries {
		data, err := shapes.Files.ReadFile(entry.Name())
		require.NoError(f, err)
		f.Add(data)
	}
	converter := DataConverter()
	f.Fuzz(func(t *testing.T, data []byte) {
		payload := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data}
		var in Input
		if converter.FromPayload(payload, &in) != nil {
			return
		}
		again, err := converter.ToPayload(in)
		require.NoError(t, err)
		var back Input
		require.NoError(t, converter.FromPayload(again, &back))
		require.True(t, bytes.Equal(in.Body, back.Body))
		require.Equal(t, in.Event, back.Event)
		require.Len(t, back.Targets, len(in.Targets))
		for _, policy := range in.Targets {
			normalized := policy.Normalized()
			require.Equal(t, normalized, normalized.Normalized())
			require.Positive(t, normalized.MaxAttempts)
			require.GreaterOrEqual(t, normalized.Backoff.Max, normalized.Backoff.Initial)
		}
		id := WorkflowID(in.Event.ID)
		require.LessOrEqual(t, len(id), len(WorkflowID(""))+160)
		for i := range len(id) {
			require.True(t, id[i] >= 0x21 && id[i] <= 0x7E, "%q", id)
		}
	})
}
