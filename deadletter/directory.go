package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"genesys-fanout/event"
)

const (
	supersededDir = "superseded"
	resolvedDir   = "resolved"
)

// Directory is the tracker: one file per open dead letter, and two folders for
// those that are no longer open. Several processes may share it: each step is
// one rename or link, so a reader sees a record whole or not at all.
type Directory struct {
	path string
	mu   sync.Mutex // one writer per process; between processes a delivery has one run at a time
}

// DamagedError names a file of the tracker that holds no record. It is left as
// it is.
type DamagedError struct {
	File string
	Err  error
}

// Error names the file and the cure.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: damaged dead letter: %v; mend the file or move it away", e.File, e.Err)
}

// Unwrap returns what is wrong with the file.
func (e *DamagedError) Unwrap() error { return e.Err }

// Open opens the tracker at path and makes its folders where they are missing.
// It fails where no record could be written.
func Open(path string) (*Directory, error) {
	for _, dir := range []string{path, filepath.Join(path, supersededDir), filepath.Join(path, resolvedDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
		probe, err := os.CreateTemp(dir, ".probe-*")
		if err != nil {
			return nil, fmt.Errorf("the tracker's folder %s cannot be written: %w", dir, err)
		}
		if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
			return nil, fmt.Errorf("the tracker's folder %s cannot be written: %w", dir, err)
		}
	}
	return &Directory{path: path}, nil
}

// FileName is the name of a delivery's record.
func FileName(target, eventID string) string {
	return target + "_" + event.EscapeFileName(eventID) + ".json"
}

// Record keeps a dead letter. When it returns nil the record is on disk. The
// same delivery of the same run is written again in place; a record that another
// run left, and a file that is damaged, moves to superseded/ first.
func (d *Directory) Record(ctx context.Context, record Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := FileName(record.TargetName, record.EventID)
	if err := d.supersede(name, record.RunID); err != nil {
		return fmt.Errorf("keep the older dead letter %s: %w", name, err)
	}
	if err := write(filepath.Join(d.path, name), record); err != nil {
		return fmt.Errorf("write the dead letter %s: %w", name, err)
	}
	return nil
}

// supersede gives the file that stands under name a second name in superseded/,
// so that the rename of the newer record over it leaves no moment without one.
func (d *Directory) supersede(name, runID string) error {
	open := filepath.Join(d.path, name)
	older, err := read(open)
	var damaged *DamagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && older.RunID == runID:
		return nil
	case err != nil && !errors.As(err, &damaged):
		return err
	}
	return d.keep(open, filepath.Join(d.path, supersededDir), name, older.RunID)
}

// keep links file into dir. A name that is taken gets .<run id>, and then a
// number: nothing is overwritten.
func (d *Directory) keep(file, dir, name, runID string) error {
	for free := range alternatives(name, runID) {
		kept := filepath.Join(dir, free)
		err := os.Link(file, kept)
		switch {
		case errors.Is(err, fs.ErrExist) && !same(file, kept):
			continue
		case errors.Is(err, fs.ErrExist): // kept by a call that was cut off
			return nil
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
			err = moveToFree(file, kept) // a file system without links: for a moment no record is open
		}
		if err != nil {
			return err
		}
		return syncDir(dir)
	}
	return nil
}

// moveToFree renames a file to a name that nothing has.
func moveToFree(file, to string) error {
	reserved, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(reserved.Close(), os.Rename(file, to))
}

// alternatives yields, without end, the names under which a record may be kept
// in a folder: its own, then with its run, then with a number too.
func alternatives(name, runID string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(name) {
			return
		}
		if runID != "" {
			name += "." + event.EscapeFileName(runID)
			if !yield(name) {
				return
			}
		}
		for i := 2; yield(name + "." + strconv.Itoa(i)); i++ {
		}
	}
}

func same(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// Resolve moves the open record of a delivery to resolved/, with the time and
// the run that delivered it after all. Without an open record it does nothing,
// so it may be repeated.
func (d *Directory) Resolve(ctx context.Context, target, eventID, runID string, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := FileName(target, eventID)
	open := filepath.Join(d.path, name)
	record, err := read(open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at = at.UTC()
	record.ResolvedAt, record.ResolvedRunID = &at, runID
	if err := d.resolve(name, record); err != nil {
		return fmt.Errorf("resolve the dead letter %s: %w", name, err)
	}
	if err := os.Remove(open); err != nil {
		return fmt.Errorf("resolve the dead letter %s: %w", name, err)
	}
	return syncDir(d.path)
}

// resolve writes the resolved record beside the open one, which only then goes:
// a crash between leaves both, and the next call finds its own work.
func (d *Directory) resolve(name string, record Record) error {
	dir := filepath.Join(d.path, resolvedDir)
	for free := range alternatives(name, record.RunID) {
		file := filepath.Join(dir, free)
		there, err := read(file)
		if errors.Is(err, fs.ErrNotExist) {
			return write(file, record)
		}
		if err == nil && there.RunID == record.RunID && there.ResolvedRunID == record.ResolvedRunID {
			return nil
		}
	}
	return nil
}

// Get reads the open record of a delivery. Without one the error is
// fs.ErrNotExist; a file that is no record is a *DamagedError.
func (d *Directory) Get(target, eventID string) (Record, error) {
	return read(filepath.Join(d.path, FileName(target, eventID)))
}

func read(file string) (Record, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Record{}, err
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return Record{}, &DamagedError{File: file, Err: err}
	}
	if name := FileName(record.TargetName, record.EventID); !strings.HasPrefix(filepath.Base(file), name) {
		return Record{}, &DamagedError{File: file, Err: errors.New("its target_name and event_id are not those of its name")}
	}
	return record, nil
}

// write makes the file whole or not at all, and durable: its bytes and its name
// in the directory are on disk when it returns.
func write(file string, record Record) error {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(record); err != nil {
		return err
	}
	if err := renameio.WriteFile(file, data.Bytes(), 0o600, renameio.WithTempDir(filepath.Dir(file)), renameio.IgnoreUmask()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
