package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Get reads the open record of a delivery. Without one the error is
// fs.ErrNotExist; a file that does not hold it is a *DamagedError.
func (d *Directory) Get(target, eventID string) (Record, error) {
	return read(d.File(target, eventID))
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
			if len(targets) > 0 && !slices.Contains(targets, targetOf(name)) {
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

// Targets are the names of all targets with an open record, sorted. No record is
// read for it.
func (d *Directory) Targets(ctx context.Context) ([]string, error) {
	names := make(map[string]bool)
	for name, err := range d.files(ctx) {
		if err != nil {
			return nil, err
		}
		names[targetOf(name)] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// OpenTargets are the targets for which an event has an open record, sorted. A
// damaged record counts. The first record of a target that another process
// makes while this one runs is seen within namesFor, and at once where the
// target is among those named.
func (d *Directory) OpenTargets(ctx context.Context, eventID string, named ...string) ([]string, error) {
	names, err := d.names.known(func() ([]string, error) { return d.Targets(ctx) })
	if err != nil {
		return nil, err
	}
	names = slices.Concat(names, named)
	slices.Sort(names)
	var open []string
	for _, target := range slices.Compact(names) {
		_, err := os.Stat(d.File(target, eventID))
		if err == nil {
			open = append(open, target)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for dead letters: %w", err)
		}
	}
	return open, nil
}

// namesFor is how long the names of targets are believed: to find them takes a
// pass over the directory, 50 ms for 100,000 records.
const namesFor = 10 * time.Second

// targetNames are the targets that had an open record when it was last looked.
type targetNames struct {
	mu    sync.Mutex
	until time.Time
	names []string // sorted
}

func (n *targetNames) known(look func() ([]string, error)) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Now().Before(n.until) {
		return n.names, nil
	}
	names, err := look()
	if err != nil {
		return nil, err
	}
	n.names, n.until = names, time.Now().Add(namesFor)
	return names, nil
}

func (n *targetNames) add(target string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, found := slices.BinarySearch(n.names, target); !found {
		n.names = slices.Insert(slices.Clone(n.names), i, target)
	}
}

// targetOf is the target in the name of a record. Only the names of the targets
// of messages that could not be fanned out begin with an underscore, and none
// holds another.
func targetOf(name string) string {
	if rest, special := strings.CutPrefix(name, "_"); special {
		target, _, _ := strings.Cut(rest, "_")
		return "_" + target
	}
	target, _, _ := strings.Cut(name, "_")
	return target
}

// listBatch is how many names files holds at once.
const listBatch = 256

// files yields the names of what may be open records.
func (d *Directory) files(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		dir, err := os.Open(d.path)
		if err != nil {
			yield("", fmt.Errorf("list the dead letters: %w", err))
			return
		}
		defer func() { _ = dir.Close() }() // it was only read
		for {
			entries, listErr := dir.ReadDir(listBatch)
			for _, entry := range entries {
				if ctx.Err() != nil {
					yield("", ctx.Err())
					return
				}
				name := entry.Name()
				isRecord := !entry.IsDir() && !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".json")
				if isRecord && !yield(name, nil) {
					return
				}
			}
			if errors.Is(listErr, io.EOF) {
				return
			}
			if listErr != nil {
				yield("", fmt.Errorf("list the dead letters: %w", listErr))
				return
			}
		}
	}
}
