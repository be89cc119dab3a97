package deadletter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpen_ProcessesThatOpenATrackerAtOnceGetOneIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead-letters")
	var mu sync.Mutex
	ids := map[string]int{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			d, err := Open(path)
			if !assert.NoError(t, err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[d.ID()]++
		})
	}
	all.Wait()
	require.Len(t, ids, 1)
	again, err := Open(path)
	require.NoError(t, err)
	assert.Equal(t, 20, ids[again.ID()])
	require.NoError(t, uuid.Validate(again.ID()))
	assert.Empty(t, fileNames(t, path), "no temporary file is left")
	reader, err := OpenExisting(path)
	require.NoError(t, err)
	assert.Equal(t, again.ID(), reader.ID())
	assert.Equal(t, path+" ("+again.ID()+")", again.String())
}

// On a file system without flock, two hosts may create an identity at the same time.
func TestCreateIdentity_WithoutALock(t *testing.T) {
	d := newTracker(t.TempDir())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { assert.NoError(t, d.createIdentity()) })
	}
	all.Wait()
	ids, err := readIdentities(d.path)
	require.NoError(t, err)
	require.Len(t, ids, 1)
	require.NoError(t, d.createIdentity())
	again, err := readIdentities(d.path)
	require.NoError(t, err)
	assert.Equal(t, ids, again)
}

func TestCreateIdentity_WithoutHardLinks(t *testing.T) {
	d := newTracker(t.TempDir())
	d.link = func(string, string) error { return errors.ErrUnsupported }
	require.NoError(t, d.loadOrCreateIdentity())
	id := d.ID()
	require.NoError(t, d.loadOrCreateIdentity())
	assert.Equal(t, id, d.ID())
	assert.Empty(t, fileNames(t, d.path))
}

func TestOpen_FailsIfTheIdentityIsDamaged(t *testing.T) {
	for _, content := range []string{"", "\n", "not a UUID\n", uuid.NewString() + "\nx\n"} {
		path := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(path, identityFile), []byte(content), 0o600))
		_, err := Open(path)
		require.ErrorContains(t, err, filepath.Join(path, identityFile)+" is damaged")
		_, err = OpenExisting(path)
		require.ErrorContains(t, err, "restore the file")
		_, err = CheckWritable(path)
		require.ErrorContains(t, err, "is damaged")
	}
}

// An operator names them below the tracker's own identity, also while the worker runs.
func TestHasRecordsOf_TrackersThatWereMovedIntoThisOne(t *testing.T) {
	d, path := openTracker(t)
	other := uuid.NewString()
	for id, want := range map[string]bool{d.ID(): true, other: false} {
		held, err := d.HasRecordsOf(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, want, held)
	}
	require.NoError(t, os.WriteFile(filepath.Join(path, identityFile), []byte(d.ID()+"\n"+other+"\n"), 0o600))
	held, err := d.HasRecordsOf(t.Context(), other)
	require.NoError(t, err)
	assert.True(t, held)
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	require.NoError(t, os.RemoveAll(path))
	_, err = d.HasRecordsOf(t.Context(), other)
	require.ErrorAs(t, err, new(*UnavailableError))
}

// While the directory is not the tracker that was opened, a missing file says nothing about
// a record. Nothing is written into the directory that is there instead.
func TestEveryMethodFailsWhileTheTrackerIsUnavailable(t *testing.T) {
	const notMounted, unreadable, replaced = "is not mounted: ", "cannot be read: ", "has been replaced: its directory now has the tracker "
	for name, test := range map[string]struct {
		replace func(path string) error
		want    string
	}{
		"gone":                 {func(string) error { return nil }, notMounted},
		"an empty mount point": {func(path string) error { return os.Mkdir(path, 0o700) }, notMounted},
		"a file":               {func(path string) error { return os.WriteFile(path, nil, 0o600) }, unreadable},
		"another tracker":      {func(path string) error { _, err := Open(path); return err }, replaced},
		"a tracker from before": {func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.Mkdir(path+"/"+resolvedDir, 0o700))
		}, notMounted},
		"another, with a record": {anotherWithARecord(t), replaced},
	} {
		t.Run(name, func(t *testing.T) {
			d, path := openTracker(t)
			record := newRecord("evt-1", "run-1")
			require.NoError(t, d.Record(t.Context(), record))
			kept := path + "-kept"
			require.NoError(t, os.Rename(path, kept))
			require.NoError(t, test.replace(path))
			before := tree(t, path)

			ctx := t.Context()
			var listed, closed error
			for _, listed = range d.All(ctx) {
				break
			}
			for _, closed = range d.Closed(ctx, Folders()...) {
				break
			}
			_, got := d.Get("compliance-service", "evt-2")
			_, opened := d.OpenTargets(ctx, "evt-1", "compliance-service")
			_, targets := d.Targets(ctx)
			_, discarded := d.Discard(ctx, record, DiscardNote{At: noon})
			_, counted := d.Count(ctx)
			for what, err := range map[string]error{
				"record": d.Record(ctx, newRecord("evt-1", "run-2")), "resolve": d.Resolve(ctx, "compliance-service", "evt-1", "run-2", noon),
				"list": listed, "closed": closed, "get": got, "open": opened, "targets": targets, "discard": discarded, "count": counted, "check": d.Check(ctx),
			} {
				require.ErrorAs(t, err, new(*UnavailableError), what)
				require.NotErrorIs(t, err, fs.ErrNotExist, what)
				require.ErrorContains(t, err, path+" ("+d.ID()+") "+test.want, what)
			}
			assert.Equal(t, before, tree(t, path), "nothing is written there")

			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.Rename(kept, path))
			require.NoError(t, d.Check(ctx))
			require.NoError(t, d.Record(ctx, newRecord("evt-1", "run-2")))
			assert.Len(t, fileNames(t, filepath.Join(path, supersededDir)), 1)
		})
	}
}

// anotherWithARecord creates another tracker, with an open record of the same delivery.
func anotherWithARecord(t *testing.T) func(path string) error {
	return func(path string) error {
		other, err := Open(path)
		if err != nil {
			return err
		}
		return other.Record(t.Context(), newRecord("evt-1", "run-9"))
	}
}

// tree returns all paths below a path.
func tree(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(path, func(file string, _ fs.DirEntry, err error) error {
		all = append(all, file)
		return err
	})
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	return all
}

// This does not apply to the directory itself: see the next test.
func TestFoldersAreCreatedAgainIfTheyVanish(t *testing.T) {
	d, path := openTracker(t)
	for _, folder := range []string{supersededDir, resolvedDir, discardedDir, targetsDir} {
		require.NoError(t, os.RemoveAll(filepath.Join(path, folder)))
	}
	require.NoError(t, d.Check(t.Context()))
	first := newRecord("evt-1", "run-1")
	first.TargetName = "a"
	require.NoError(t, d.Record(t.Context(), first))
	require.NoError(t, os.RemoveAll(filepath.Join(path, targetsDir)))
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-2")))
	targets, err := d.Targets(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "compliance-service"}, targets, "a list that was deleted is created again from the records")
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-3", noon))
	discarded, err := d.Discard(t.Context(), first, DiscardNote{At: noon, By: "ops", Note: "obsolete"})
	require.NoError(t, err)
	assert.True(t, discarded)
	assert.Len(t, fileNames(t, filepath.Join(path, supersededDir)), 1)
	assert.Len(t, fileNames(t, filepath.Join(path, resolvedDir)), 1)
	assert.Len(t, fileNames(t, filepath.Join(path, discardedDir)), 1)
}

// The directory may vanish in the middle of a write, because it is a mount.
func TestMakeFolder_NeverCreatesTheDirectory(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, os.RemoveAll(path))
	require.ErrorIs(t, d.makeFolder(supersededDir), fs.ErrNotExist)
	require.ErrorAs(t, d.createTargetList(), new(*UnavailableError))
	assert.NoDirExists(t, path)
}

// A full disk shows in a write alone.
func TestCheck_WritesAfterAFailedWrite(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, d.Check(t.Context()))
	require.NoError(t, os.Remove(filepath.Join(path, supersededDir)))
	require.NoError(t, os.WriteFile(filepath.Join(path, supersededDir), nil, 0o600))
	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	require.Error(t, d.Record(t.Context(), newRecord("evt-1", "run-2")))
	require.True(t, d.lastWriteFailed.Load())
	require.NoError(t, os.Remove(filepath.Join(path, supersededDir)))
	require.NoError(t, d.Check(t.Context()))
	assert.False(t, d.lastWriteFailed.Load())
	assert.Equal(t, []string{FileName("compliance-service", "evt-1")}, fileNames(t, path), "no probe is left")
}
