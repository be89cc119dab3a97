package deadletter

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

var obsolete = DiscardNote{At: noon.Add(time.Hour), By: "ops", Note: "the tenant is gone"}

func TestDiscard_MovesTheRecordWithWhoWhenAndWhy(t *testing.T) {
	d, path := openTracker(t)
	record := newRecord("evt-1", "run-1")
	for _, target := range append(event.ReservedTargets(), "compliance-service") {
		record.TargetName = target
		require.NoError(t, d.Record(t.Context(), record))
		discarded, err := d.Discard(t.Context(), record, obsolete)
		require.NoError(t, err)
		assert.True(t, discarded)
		_, err = d.Get(target, "evt-1")
		require.ErrorIs(t, err, os.ErrNotExist)
		kept, err := readRecord(filepath.Join(path, discardedDir, FileName(target, "evt-1")))
		require.NoError(t, err)
		assert.Equal(t, obsolete.At, *kept.DiscardedAt)
		assert.Equal(t, obsolete.By, kept.DiscardedBy)
		assert.Equal(t, obsolete.Note, kept.Note)
		assert.Equal(t, record.Message(), kept.Message())
		discarded, err = d.Discard(t.Context(), record, obsolete)
		require.NoError(t, err)
		assert.False(t, discarded, "the record is no longer open")
	}
	assert.Empty(t, fileNames(t, path))
}

// The user chose the record of the first run, not the one that replaced it.
func TestDiscard_LeavesTheRecordOfAnotherRun(t *testing.T) {
	d, path := openTracker(t)
	chosen := newRecord("evt-1", "run-1")
	require.NoError(t, d.Record(t.Context(), chosen))
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-2")))
	discarded, err := d.Discard(t.Context(), chosen, obsolete)
	require.NoError(t, err)
	assert.False(t, discarded)
	assert.Len(t, fileNames(t, path), 1)
	assert.Empty(t, fileNames(t, filepath.Join(path, discardedDir)))

	require.NoError(t, os.WriteFile(d.File("compliance-service", "evt-1"), []byte("{"), 0o600))
	_, err = d.Discard(t.Context(), chosen, obsolete)
	require.ErrorAs(t, err, new(*DamagedError))
	assert.Len(t, fileNames(t, path), 1, "a damaged record stays open")
	assert.False(t, d.lastWriteFailed.Load(), "a damaged record is not a failed write")
}

func TestDiscard_ContinuesAfterACrashBeforeTheOpenRecordIsRemoved(t *testing.T) {
	d, path := openTracker(t)
	record := newRecord("evt-1", "run-1")
	require.NoError(t, d.Record(t.Context(), record))
	file := d.File("compliance-service", "evt-1")
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, os.WriteFile(file, before, 0o600))
		_, err = d.Discard(t.Context(), record, obsolete)
		require.NoError(t, err)
	}
	assert.Empty(t, fileNames(t, path))
	assert.Len(t, fileNames(t, filepath.Join(path, discardedDir)), 1)
	require.NoError(t, os.WriteFile(file, before, 0o600))
	_, err = d.Discard(t.Context(), record, DiscardNote{At: noon, By: "ops", Note: "another reason"})
	require.NoError(t, err)
	assert.Len(t, fileNames(t, filepath.Join(path, discardedDir)), 2, "a different record gets another name")
}

// Whichever call is first closes the record, and every record ends in exactly one folder.
func TestDiscard_ConcurrentWithRecordAndResolveLosesNoRecord(t *testing.T) {
	d, path := openTracker(t)
	other, err := OpenExisting(path)
	require.NoError(t, err)
	const runs = 20
	var all sync.WaitGroup
	for i := range runs {
		record := newRecord("evt-1", "run-"+string(rune('a'+i)))
		all.Go(func() {
			assert.NoError(t, d.Record(t.Context(), record))
			_, err := other.Discard(t.Context(), record, obsolete)
			assert.NoError(t, err)
		})
		all.Go(func() { assert.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-x", noon)) })
	}
	all.Wait()
	kept := 0
	for _, folder := range []string{".", supersededDir, resolvedDir, discardedDir} {
		kept += len(fileNames(t, filepath.Join(path, folder)))
	}
	assert.Equal(t, runs, kept)
}

func TestClosed_ListsAndDeletesClosedRecordsOnly(t *testing.T) {
	d, path := openTracker(t)
	for _, run := range []string{"run-1", "run-2", "run-3"} {
		require.NoError(t, d.Record(t.Context(), newRecord("evt-1", run)))
	}
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-4", noon.Add(time.Minute)))
	poison := newRecord("evt-2", "run-1")
	require.NoError(t, d.Record(t.Context(), poison))
	_, err := d.Discard(t.Context(), poison, obsolete)
	require.NoError(t, err)
	require.NoError(t, d.Record(t.Context(), newRecord("evt-3", "run-1")))
	open, err := os.ReadFile(d.File("compliance-service", "evt-3"))
	require.NoError(t, err)
	damaged := map[string]string{
		filepath.Join(path, supersededDir, FileName("a", "evt-1")): "{",
		filepath.Join(path, resolvedDir, FileName("a", "evt-1")):   "",
		// A record without resolved_at or discarded_at does not belong in these folders.
		filepath.Join(path, resolvedDir, FileName("compliance-service", "evt-3")):  string(open),
		filepath.Join(path, discardedDir, FileName("compliance-service", "evt-3")): string(open),
	}
	for file, content := range damaged {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	for _, ignored := range []string{".half_x.json123", "notes.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, resolvedDir, ignored), nil, 0o600))
	}

	ages := map[Folder][]time.Time{}
	for one, err := range d.Closed(t.Context(), Folders()...) {
		if broken, ok := errors.AsType[*DamagedError](err); ok {
			assert.Contains(t, damaged, broken.File)
			delete(damaged, broken.File)
			continue
		}
		require.NoError(t, err)
		ages[one.Folder] = append(ages[one.Folder], one.At.UTC())
		require.NoError(t, one.Delete())
		require.NoError(t, one.Delete(), "it is gone")
	}
	assert.Empty(t, damaged)
	assert.Equal(t, map[Folder][]time.Time{Superseded: {noon, noon}, Resolved: {noon.Add(time.Minute)}, Discarded: {obsolete.At}}, ages)
	assert.Equal(t, []string{FileName("compliance-service", "evt-3")}, fileNames(t, path), "an open record is not deleted")
	assert.Equal(t, []string{FileName("a", "evt-1")}, fileNames(t, filepath.Join(path, supersededDir)), "the damaged file stays")
	require.NoError(t, os.RemoveAll(filepath.Join(path, discardedDir)))
	for _, err := range d.Closed(t.Context(), Discarded) {
		require.NoError(t, err)
	}
}
