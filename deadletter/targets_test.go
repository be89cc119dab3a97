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

func TestTargetOfFile(t *testing.T) {
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

// Otherwise OpenTargets could miss a record.
func TestRecord_AddsTheTargetBeforeTheRecordIsVisible(t *testing.T) {
	d, path := openTracker(t)
	other, err := Open(path)
	require.NoError(t, err)
	unlock, err := other.lock(t.Context())
	require.NoError(t, err)
	var recorded sync.WaitGroup
	recorded.Go(func() { assert.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1"))) })
	await.True(t, "the target to be in the list while another process has the lock", func() bool {
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

// It also does so if an earlier start was interrupted while it created the list.
func TestOpen_CreatesTheTargetListOfAnOlderTracker(t *testing.T) {
	path := t.TempDir()
	for _, target := range []string{"a", "b", event.OversizeTarget} {
		record := newRecord("evt-1", "run-1")
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
	assert.NoDirExists(t, filepath.Join(path, targetsDir), "a reader creates nothing")

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
	assert.ElementsMatch(t, want, fileNames(t, filepath.Join(path, targetsDir)))
	left, err := filepath.Glob(filepath.Join(path, "."+targetsDir+"-*"))
	require.NoError(t, err)
	assert.Len(t, left, 1, "only the folder of the interrupted start")
}

func TestOpenTargets_SeesRecordsOfOtherProcesses(t *testing.T) {
	d, path := openTracker(t)
	other, err := OpenExisting(path)
	require.NoError(t, err)
	for _, target := range []string{"a", "compliance-service"} {
		record := newRecord("evt-1", "run-1")
		record.TargetName = target
		require.NoError(t, d.Record(t.Context(), record))
		found, err := other.OpenTargets(t.Context(), "evt-1")
		require.NoError(t, err)
		assert.Contains(t, found, target)
	}
	require.NoError(t, os.Remove(filepath.Join(path, targetsDir, "a")))
	found, err := other.OpenTargets(t.Context(), "evt-1", "a")
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "compliance-service"}, found, "the named targets are always checked")
}

func TestTargets_AndRecordsOfATarget(t *testing.T) {
	d, path := openTracker(t)
	none, err := d.Targets(t.Context())
	require.NoError(t, err)
	assert.Empty(t, none)
	for _, target := range []string{"b-2", "a", event.UndecodableTarget, event.OversizeTarget} {
		for _, id := range []string{"evt_1", "_evt.2"} {
			record := newRecord(id, "run-1")
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
