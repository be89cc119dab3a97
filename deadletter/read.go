package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Get reads the open record of a delivery. If there is none, the error is fs.ErrNotExist. If
// the file cannot be read as that record, it is a *DamagedError.
func (t *Tracker) Get(target, eventID string) (Record, error) {
	record, err := readRecord(t.File(target, eventID))
	if unavailable := t.verifyIdentity(); unavailable != nil {
		return Record{}, unavailable
	}
	return record, err
}

// GetFile reads the open record whose file has the name, a FileName. Its errors are those of
// Get, but it does not verify that the tracker is there: call Version first.
func (t *Tracker) GetFile(name string) (Record, error) {
	return readRecord(filepath.Join(t.path, name))
}

// GetDiscarded reads the discarded record whose file has the name, a FileName. If there is
// none, the error is fs.ErrNotExist. If the delivery was discarded several times, it reads
// the first record.
func (t *Tracker) GetDiscarded(name string) (Record, error) {
	return readRecord(filepath.Join(t.path, discardedDir, name))
}

// All yields the open records of the named targets, or of all targets if none is named. They
// come in no order, and one at a time is in memory. A damaged file yields its *DamagedError
// and the listing continues. An error of ctx or of the directory ends it. A record that
// opens or closes during the listing may be missing, and one that is superseded meanwhile
// may come twice.
func (t *Tracker) All(ctx context.Context, targets ...string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for name, err := range t.openFiles(ctx) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if target, _ := targetOfFile(name); len(targets) > 0 && !slices.Contains(targets, target) {
				continue
			}
			record, err := readRecord(filepath.Join(t.path, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // closed since
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// listBatch is how many file names a listing has in memory.
const listBatch = 256

// openFiles yields the names of the files that are open records by their name.
func (t *Tracker) openFiles(ctx context.Context) iter.Seq2[string, error] {
	return t.recordFiles(ctx, ".", func(name string) bool { return strings.HasSuffix(name, ".json") })
}

// recordFiles yields the names of the files in a folder of the tracker that are records by
// their name. If the tracker is unmounted meanwhile, the listing ends with an error, because
// the records would seem to be closed.
func (t *Tracker) recordFiles(ctx context.Context, folder string, isRecord func(name string) bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		fail := func(err error) { yield("", fmt.Errorf("list the dead letters: %w", t.unavailableOr(err))) }
		dir, err := os.Open(filepath.Join(t.path, folder))
		if err != nil {
			fail(err)
			return
		}
		defer func() { _ = dir.Close() }() // it was only read
		if err := t.verifyIdentity(); err != nil {
			fail(err)
			return
		}
		for {
			entries, listErr := dir.ReadDir(listBatch)
			for _, entry := range entries {
				if ctx.Err() != nil {
					yield("", ctx.Err())
					return
				}
				name := entry.Name()
				if entry.IsDir() || strings.HasPrefix(name, ".") || !isRecord(name) {
					continue
				}
				if !yield(name, nil) {
					return
				}
			}
			if errors.Is(listErr, io.EOF) {
				listErr = t.verifyIdentity()
				if listErr == nil {
					return
				}
			}
			if listErr != nil {
				fail(listErr)
				return
			}
		}
	}
}
