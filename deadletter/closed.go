package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Folder is one of the folders of closed records.
type Folder string

// The folders of closed records.
const (
	Superseded Folder = supersededDir // another run failed for the same delivery
	Resolved   Folder = resolvedDir   // a later run delivered the event
	Discarded  Folder = discardedDir  // a user closed the record, because nobody will send the event
)

// Folders returns all folders of closed records.
func Folders() []Folder { return []Folder{Superseded, Resolved, Discarded} }

// Path returns the path of a folder of the tracker.
func (t *Tracker) Path(folder Folder) string { return filepath.Join(t.path, string(folder)) }

// Closed is a record that is no longer open.
type Closed struct {
	Record
	Folder Folder
	File   string    // its path
	At     time.Time // when it was resolved or discarded; for a superseded record, its Timestamp
}

// Closed yields the records in the named folders, in no order, with one at a time in
// memory. A file that is not a record, or that lacks the time of its folder (resolved_at or
// discarded_at), yields its *DamagedError and the listing continues. An error of ctx or of
// the directory ends it. Closed takes no lock.
func (t *Tracker) Closed(ctx context.Context, folders ...Folder) iter.Seq2[Closed, error] {
	return func(yield func(Closed, error) bool) {
		for _, folder := range folders {
			for name, err := range t.recordFiles(ctx, string(folder), isClosedRecord) {
				if errors.Is(err, fs.ErrNotExist) {
					break // the folder does not exist yet
				}
				if err != nil {
					yield(Closed{}, err)
					return
				}
				one, err := t.readClosed(folder, name)
				if errors.Is(err, fs.ErrNotExist) {
					continue // deleted since
				}
				if !yield(one, err) {
					return
				}
			}
		}
	}
}

// isClosedRecord reports whether a file has one of the candidateNames of a record.
func isClosedRecord(name string) bool {
	return strings.HasSuffix(name, ".json") || strings.Contains(name, ".json.")
}

func (t *Tracker) readClosed(folder Folder, name string) (Closed, error) {
	file := filepath.Join(t.Path(folder), name)
	record, err := readRecord(file)
	if err != nil {
		return Closed{}, err
	}
	at, field := &record.Timestamp, "timestamp"
	switch folder {
	case Resolved:
		at, field = record.ResolvedAt, "resolved_at"
	case Discarded:
		at, field = record.DiscardedAt, "discarded_at"
	}
	if at == nil || at.IsZero() {
		return Closed{}, &DamagedError{File: file, Err: fmt.Errorf("it has no %s", field)}
	}
	return Closed{Record: record, Folder: folder, File: file, At: *at}, nil
}

// Delete removes the file of a closed record for good. Nothing else in this package deletes
// a record. If the file does not exist, Delete returns nil.
func (c Closed) Delete() error {
	if err := os.Remove(c.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete a closed dead letter: %w", err)
	}
	return nil
}
