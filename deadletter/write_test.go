package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The name, the mode and the order of the fields are what users script against.
func TestRecord_WritesTheFileOfTheContract(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	file := filepath.Join(path, "compliance-service_evt-1.json")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `{
  "event_id": "evt-1",
  "target_name": "compliance-service",
  "error": "422 Unprocessable Entity: <no>",
  "reason": "rejected",
  "status_code": 422,
  "attempts": 1,
  "timestamp": "2026-03-14T12:00:00Z",
  "payload": {
    "event_id": "evt-1",
    "text": "a < b & c"
  },
  "event_type": "conversation.started",
  "interaction_id": "i-1",
  "workflow_id": "event-evt-1",
  "run_id": "run-1",
  "source": {
    "topic": "t",
    "partition": 3,
    "offset": 42
  }
}
`, string(data))
}

func TestRecord_AgainByTheSameRunLeavesOneRecord(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	assert.Len(t, fileNames(t, path), 1)
	assert.Empty(t, fileNames(t, filepath.Join(path, supersededDir)))
}

func TestRecord_OfANewerRunSupersedesTheOlderRecord(t *testing.T) {
	d, path := openTracker(t)
	for _, run := range []string{"run-1", "run-2", "run-3", "run-4"} {
		require.NoError(t, d.Record(t.Context(), newRecord("evt-1", run)))
	}
	got, err := d.Get("compliance-service", "evt-1")
	require.NoError(t, err)
	assert.Equal(t, "run-4", got.RunID)
	name := FileName("compliance-service", "evt-1")
	assert.ElementsMatch(t, []string{name, name + ".run-2", name + ".run-3"}, fileNames(t, filepath.Join(path, supersededDir)))
	older, err := readRecord(filepath.Join(path, supersededDir, name))
	require.NoError(t, err)
	assert.Equal(t, "run-1", older.RunID)
}

func TestRecord_ContinuesAfterACrashBetweenLinkAndRename(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	require.NoError(t, d.linkToSuperseded(FileName("compliance-service", "evt-1"), "run-2"))
	assert.Len(t, fileNames(t, path), 1, "the record stays open")
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-2")))
	assert.Len(t, fileNames(t, filepath.Join(path, supersededDir)), 1)
}

func TestRecord_MovesADamagedFileToSuperseded(t *testing.T) {
	for _, damage := range []string{"", "{", `{"event_id":"evt-1","target_na`, `{}`, "\x00\x00", `{"event_id":"evt-2","target_name":"compliance-service"}`} {
		d, path := openTracker(t)
		name := FileName("compliance-service", "evt-1")
		require.NoError(t, os.WriteFile(filepath.Join(path, name), []byte(damage), 0o600))

		_, err := d.Get("compliance-service", "evt-1")
		var damaged *DamagedError
		require.ErrorAs(t, err, &damaged)
		assert.Contains(t, err.Error(), name)
		require.ErrorAs(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-9", noon), &damaged)

		require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
		kept, err := os.ReadFile(filepath.Join(path, supersededDir, name))
		require.NoError(t, err)
		assert.Equal(t, damage, string(kept))
	}
}

func TestRecord_FailsIfTheDirectoryIsMissing(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, os.RemoveAll(path))
	err := d.Record(t.Context(), newRecord("evt-1", "run-1"))
	require.ErrorAs(t, err, new(*UnavailableError))
	_, err = Open(filepath.Join(os.DevNull, "x"))
	require.Error(t, err)
}

func TestRecord_FromTwoProcesses(t *testing.T) {
	d, path := openTracker(t)
	other, err := Open(path)
	require.NoError(t, err)
	var all sync.WaitGroup
	for _, dir := range []*Tracker{d, other} {
		for _, id := range []string{"a", "b", "c", "d"} {
			all.Go(func() { assert.NoError(t, dir.Record(t.Context(), newRecord(id, "run-1"))) })
		}
	}
	all.Wait()
	assert.Len(t, fileNames(t, path), 4)
}

// Two processes record the same delivery, each for many runs. Afterwards every record is open
// or superseded.
func TestRecord_OfManyRunsAtOnceLosesNoRecord(t *testing.T) {
	d, path := openTracker(t)
	other, err := Open(path)
	require.NoError(t, err)
	const runs = 40
	var all sync.WaitGroup
	for i, dir := range []*Tracker{d, other} {
		for j := range runs {
			all.Go(func() { assert.NoError(t, dir.Record(t.Context(), newRecord("a", fmt.Sprintf("run-%d-%d", i, j)))) })
		}
	}
	all.Wait()
	seen := make(map[string]bool)
	for _, folder := range []string{path, filepath.Join(path, supersededDir)} {
		for _, name := range fileNames(t, folder) {
			got, err := readRecord(filepath.Join(folder, name))
			require.NoError(t, err)
			seen[got.RunID] = true
		}
	}
	assert.Len(t, seen, 2*runs)
	assert.Len(t, fileNames(t, path), 1)
}

// Some file systems have no hard links, so the tracker copies the files.
func TestRecordAndResolve_WithoutHardLinks(t *testing.T) {
	d, path := openTracker(t)
	d.link = func(string, string) error { return errors.ErrUnsupported }
	name := FileName("compliance-service", "evt-1")
	for _, run := range []string{"run-1", "run-2", "run-3"} {
		require.NoError(t, d.linkToSuperseded(name, run), "interrupted before the record")
		require.NoError(t, d.Record(t.Context(), newRecord("evt-1", run)))
	}
	assert.ElementsMatch(t, []string{name, name + ".run-2"}, fileNames(t, filepath.Join(path, supersededDir)))
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-4", noon))
	assert.Equal(t, []string{name}, fileNames(t, filepath.Join(path, resolvedDir)))
	assert.Empty(t, fileNames(t, path))
}
