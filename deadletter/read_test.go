package deadletter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAll_YieldsEveryOpenRecord(t *testing.T) {
	d, path := openTracker(t)
	want := make([]string, 0, 2*listBatch)
	for i := range cap(want) {
		id := fmt.Sprint("evt-", i)
		want = append(want, id)
		data, err := encode(newRecord(id, "run-1"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(path, FileName("compliance-service", id)), data, 0o600))
	}
	for _, other := range []string{".half-written.json123", ".x.json", "notes.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, other), []byte("{"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(path, "a_damaged.json"), []byte("{"), 0o600))

	var got []string
	damaged := 0
	for record, err := range d.All(t.Context()) {
		if err != nil {
			require.ErrorAs(t, err, new(*DamagedError))
			damaged++
			continue
		}
		got = append(got, record.EventID)
	}
	assert.ElementsMatch(t, want, got)
	assert.Equal(t, 1, damaged)

	for _, err := range d.All(t.Context()) {
		_ = err // a caller may stop early
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, err := range d.All(ctx) {
		if seen++; seen == 2 {
			require.ErrorIs(t, err, context.Canceled)
		}
		cancel()
	}
	assert.Equal(t, 2, seen)
	require.NoError(t, os.RemoveAll(path))
	for _, err := range d.All(t.Context()) {
		require.ErrorAs(t, err, new(*UnavailableError))
	}
}
