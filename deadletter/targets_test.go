package deadletter

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/internal/await"
)

func TestTargetOf(t *testing.T) {
	for file, want := range map[string]string{
		FileName("compliance-service", "evt_1"): "compliance-service", FileName(event.ConflictTarget, "_x"): event.ConflictTarget,
		FileName(event.UndecodableTarget, "1"): event.UndecodableTarget, "a_.json": "a",
		"a.json": "", "_a_1.json": "", "A_1.json": "", "a b_1.json": "", strings.Repeat("a", 41) + "_1.json": "", "_1.json": "", ".a_1.json": "",
	} {
		got, ok := targetOfFile(file)
		assert.Equal(t, want != "", ok, file)
		if ok {
			assert.Equal(t, want, got)
		}
	}
}

// TestRecord_ListsTheTargetBeforeTheRecord: a record that is there is never missed.
func TestRecord_ListsTheTargetBeforeTheRecord(t *testing.T) {
	d, path := open(t)
	other, err := Open(path)
	require.NoError(t, err)
	unlock, err := other.lock(t.Context())
	require.NoError(t, err)
	var recorded sync.WaitGroup
	recorded.Go(func() { assert.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1"))) })
	await.True(t, "the target in the list, under the lock of another process", func() bool {
		targets, err := other.Targets(t.Context())
		return err == nil && len(targets) == 1
	})
	assert.NoFileExists(t, d.File("compliance-service", "evt-1"))
	unlock()
	recorded.Wait()
	found, err := other.OpenTargets(t.Context(), "evt-1")
	require.NoError(t, err)
	assert.Equal(t, []string{"compliance-service"}, found)
}

// TestOpen_ListsTheTargetsOfATrackerFromBefore, also after a start that was cut off
// while it did.
func TestOpen_ListsTheTargetsOfATrackerFromBefore(t *testing.T) {
	path := t.TempDir()
	for _, target := range []string{"a", "b", event.OversizeTarget} {
		record := letter("evt-1", "run-1")
		record.TargetName = target
		data, err := encode(record)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(path, FileName(target, "evt-1")), data, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(path, "."+targetsDir+"-123"), 0o700))
	reader, err := OpenExisting(path)
	require.NoError(t, err)
	want := []string{event.OversizeTarget, "a", "b"}
	found, err := reader.OpenTargets(t.Context(), "evt-1")
	require.NoError(t, err)
	assert.Equal(t, want, found)
	assert.NoDirExists(t, filepath.Join(path, targetsDir), "a reader makes nothing")

	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			d, err := Open(path)
			if !assert.NoError(t, err) {
				return
			}
			found, err := d.OpenTargets(t.Context(), "evt-1")
			assert.NoError(t, err)
			assert.Equal(t, want, found)
		})
	}
	all.Wait()
	assert.ElementsMatch(t, want, names(t, filepath.Join(path, targetsDir)))
	left, err := filepath.Glob(filepath.Join(path, "."+targetsDir+"-*"))
	require.NoError(t, err)
	assert.Len(t, left, 1, "that of the start that was cut off")
}

// TestOpenTargets_SeesRecordsOfOtherProcesses at once.
func TestOpenTargets_SeesRecordsOfOtherProcesses(t *testing.T) {
	d, path := open(t)
	other, err := OpenExisting(path)
	require.NoError(t, err)
	for _, target := range []string{"a", "compliance-service"} {
		record := letter("evt-1", "run-1")
		record.TargetName = target
		require.NoError(t, d.Record(t.Context(), record))
		found, err := other.OpenTargets(t.Context(), "evt-1")
		require.NoError(t, err)
		assert.Contains(t, found, target)
	}
	require.NoError(t, os.Remove(filepath.Join(path, targetsDir, "a")))
	found, err := other.OpenTargets(t.Context(), "evt-1", "a")
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "compliance-service"}, found, "a run's own targets are looked at in any case")
}
