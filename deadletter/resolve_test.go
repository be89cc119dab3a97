package deadletter

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResolve_MovesTheRecordOnce(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon), "there is no record")
	for range 2 {
		require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
		require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon))
		_, err := d.Get("compliance-service", "evt-1")
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.Len(t, fileNames(t, filepath.Join(path, resolvedDir)), 1, "a repeated call recognises its own record")
	}
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-3")))
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-4", noon))
	name := FileName("compliance-service", "evt-1")
	assert.ElementsMatch(t, []string{name, name + ".run-3"}, fileNames(t, filepath.Join(path, resolvedDir)))
	got, err := readRecord(filepath.Join(path, resolvedDir, name))
	require.NoError(t, err)
	assert.Equal(t, "run-2", got.ResolvedRunID)
	assert.Equal(t, noon, *got.ResolvedAt)
	assert.Equal(t, `{"event_id":"evt-1","text":"a < b & c"}`, string(got.Message()))
}

// A record that is written while an older one is resolved ends open, superseded or resolved.
func TestResolve_ConcurrentWithRecordLosesNoRecord(t *testing.T) {
	d, path := openTracker(t)
	other, err := Open(path)
	require.NoError(t, err)
	const runs = 30
	var all sync.WaitGroup
	for i := range runs {
		all.Go(func() { assert.NoError(t, d.Record(t.Context(), newRecord("a", fmt.Sprint("run-", i)))) })
		all.Go(func() { assert.NoError(t, other.Resolve(t.Context(), "compliance-service", "a", "run-x", noon)) })
	}
	all.Wait()
	kept := 0
	for _, folder := range []string{path, filepath.Join(path, supersededDir), filepath.Join(path, resolvedDir)} {
		kept += len(fileNames(t, folder))
	}
	assert.Equal(t, runs, kept)
}

func TestResolve_ContinuesAfterACrashBeforeTheOpenRecordIsRemoved(t *testing.T) {
	d, path := openTracker(t)
	file := filepath.Join(path, FileName("compliance-service", "evt-1"))
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon))
	require.NoError(t, os.WriteFile(file, before, 0o600))

	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon.Add(time.Minute)))
	assert.Empty(t, fileNames(t, path))
	assert.Len(t, fileNames(t, filepath.Join(path, resolvedDir)), 1)

	other := newRecord("evt-1", "run-1")
	other.Error = "another end of the same run"
	require.NoError(t, d.Record(t.Context(), other))
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon))
	assert.Len(t, fileNames(t, filepath.Join(path, resolvedDir)), 2, "a different record gets another name")
}
