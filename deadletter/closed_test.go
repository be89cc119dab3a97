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

func TestDiscard(t *testing.T) {
	d, path := open(t)
	record := letter("evt-1", "run-1")
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
		assert.False(t, discarded, "it is not open any more")
	}
	assert.Empty(t, names(t, path))
}

// TestDiscard_LeavesWhatAnotherRunRecorded: that is not the record that was chosen.
func TestDiscard_LeavesWhatAnotherRunRecorded(t *testing.T) {
	d, path := open(t)
	chosen := letter("evt-1", "run-1")
	require.NoError(t, d.Record(t.Context(), chosen))
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-2")))
	discarded, err := d.Discard(t.Context(), chosen, obsolete)
	require.NoError(t, err)
	assert.False(t, discarded)
	assert.Len(t, names(t, path), 1)
	assert.Empty(t, names(t, filepath.Join(path, discardedDir)))

	require.NoError(t, os.WriteFile(d.File("compliance-service", "evt-1"), []byte("{"), 0o600))
	_, err = d.Discard(t.Context(), chosen, obsolete)
	require.ErrorAs(t, err, new(*DamagedError))
	assert.Len(t, names(t, path), 1, "a damaged record stays")
	assert.False(t, d.lastWriteFailed.Load(), "it is no fault of the disk")
}

// TestDiscard_CutOffBeforeTheOpenOneWent finds its own work.
func TestDiscard_CutOffBeforeTheOpenOneWent(t *testing.T) {
	d, path := open(t)
	record := letter("evt-1", "run-1")
	require.NoError(t, d.Record(t.Context(), record))
	file := d.File("compliance-service", "evt-1")
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, os.WriteFile(file, before, 0o600))
		_, err = d.Discard(t.Context(), record, obsolete)
		require.NoError(t, err)
	}
	assert.Empty(t, names(t, path))
	assert.Len(t, names(t, filepath.Join(path, discardedDir)), 1)
	require.NoError(t, os.WriteFile(file, before, 0o600))
	_, err = d.Discard(t.Context(), record, DiscardNote{At: noon, By: "ops", Note: "another reason"})
	require.NoError(t, err)
	assert.Len(t, names(t, filepath.Join(path, discardedDir)), 2, "what differs is kept beside")
}

// TestDiscard_BesideRecordAndResolve: whoever is first closes the record, and every
// record is in one place.
func TestDiscard_BesideRecordAndResolve(t *testing.T) {
	d, path := open(t)
	other, err := OpenExisting(path)
	require.NoError(t, err)
	const runs = 20
	var all sync.WaitGroup
	for i := range runs {
		record := letter("evt-1", "run-"+string(rune('a'+i)))
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
		kept += len(names(t, filepath.Join(path, folder)))
	}
	assert.Equal(t, runs, kept)
}

func TestClosed(t *testing.T) {
	d, path := open(t)
	for _, run := range []string{"run-1", "run-2", "run-3"} {
		require.NoError(t, d.Record(t.Context(), letter("evt-1", run)))
	}
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-4", noon.Add(time.Minute)))
	poison := letter("evt-2", "run-1")
	require.NoError(t, d.Record(t.Context(), poison))
	_, err := d.Discard(t.Context(), poison, obsolete)
	require.NoError(t, err)
	require.NoError(t, d.Record(t.Context(), letter("evt-3", "run-1")))
	open, err := os.ReadFile(d.File("compliance-service", "evt-3"))
	require.NoError(t, err)
	damaged := map[string]string{
		filepath.Join(path, supersededDir, FileName("a", "evt-1")): "{",
		filepath.Join(path, resolvedDir, FileName("a", "evt-1")):   "",
		// A record that was not closed has no business in this folder.
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
	assert.Equal(t, []string{FileName("compliance-service", "evt-3")}, names(t, path), "an open record is none of them")
	assert.Equal(t, []string{FileName("a", "evt-1")}, names(t, filepath.Join(path, supersededDir)), "the damaged one is left")
	require.NoError(t, os.RemoveAll(filepath.Join(path, discardedDir)))
	for _, err := range d.Closed(t.Context(), Discarded) {
		require.NoError(t, err)
	}
}
