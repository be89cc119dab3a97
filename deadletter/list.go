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

// Get reads the open record of a delivery. Without one the error is
// fs.ErrNotExist; a file that does not hold it is a *DamagedError.
func (d *Directory) Get(target, eventID string) (Record, error) {
	record, err := read(d.File(target, eventID))
	if away := d.present(); away != nil {
		return Record{}, away
	}
	return record, err
}

// All yields the open records of the named targets, or of all where none is
// named, in no order, one in memory at a time. A damaged file yields its
// *DamagedError and the listing goes on; an error of ctx or of the directory
// ends it. A record that opens or closes meanwhile may be missing, and one that
// is superseded meanwhile may come twice.
func (d *Directory) All(ctx context.Context, targets ...string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for name, err := range d.files(ctx) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if target, _ := targetOf(name); len(targets) > 0 && !slices.Contains(targets, target) {
				continue
			}
			record, err := read(filepath.Join(d.path, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // resolved since
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// listBatch is how many names files holds at once.
const listBatch = 256

// files yields the names of what may be open records.
func (d *Directory) files(ctx context.Context) iter.Seq2[string, error] {
	return d.filesOf(ctx, ".", func(name string) bool { return strings.HasSuffix(name, ".json") })
}

// filesOf yields the names of the files in a folder of the tracker that are records
// by their name. If the tracker goes away meanwhile they end with an error, because
// it would look like one without records.
func (d *Directory) filesOf(ctx context.Context, folder string, isRecord func(name string) bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		fail := func(err error) { yield("", fmt.Errorf("list the dead letters: %w", d.explain(err))) }
		dir, err := os.Open(filepath.Join(d.path, folder))
		if err != nil {
			fail(err)
			return
		}
		defer func() { _ = dir.Close() }() // it was only read
		if err := d.present(); err != nil {
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
				listErr = d.present()
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
