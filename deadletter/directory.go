package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"genesys-fanout/event"
)

const (
	supersededDir = "superseded"
	resolvedDir   = "resolved"
)

// Directory is the tracker: one file per open dead letter, and two folders for
// those that are no longer open. Several processes may share it. A reader needs
// no lock: it sees a record whole or not at all.
type Directory struct {
	path   string
	writer chan struct{}                       // holds a token while this process writes
	link   func(oldname, newname string) error // os.Link; not every file system has it
	names  targetNames
}

// Open opens the tracker at path and makes its folders where they are missing,
// for the user alone. It fails where no record could be written.
func Open(path string) (*Directory, error) {
	for _, dir := range []string{path, filepath.Join(path, supersededDir), filepath.Join(path, resolvedDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
		probe, err := os.CreateTemp(dir, ".probe-*")
		if err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
		if err != nil {
			return nil, fmt.Errorf("the tracker's folder %s cannot be written: %w", dir, err)
		}
	}
	for _, dir := range []string{filepath.Dir(path), path} { // where a folder may be new
		if err := syncDir(dir); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
	}
	return newDirectory(path), nil
}

// Existing is the tracker at path as it is found, for those who only read it:
// nothing is made there, and nothing tried.
func Existing(path string) (*Directory, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the tracker: %w", err)
	}
	return newDirectory(path), nil
}

func newDirectory(path string) *Directory {
	return &Directory{path: path, writer: make(chan struct{}, 1), link: os.Link}
}

// FileName is the name of a delivery's record. A record of OversizeTarget may hold
// its event's id as event.Cut left it, and has the name of the whole id.
func FileName(target, eventID string) string {
	escape := event.EscapeFileName
	if target == OversizeTarget {
		escape = event.EscapeCutFileName
	}
	return event.EscapeFileName(target) + "_" + escape(eventID) + ".json"
}

// File is the path of a delivery's open record, whether there is one or not.
func (d *Directory) File(target, eventID string) string {
	return filepath.Join(d.path, FileName(target, eventID))
}

// Record keeps a dead letter. When it returns nil the record is on disk. The
// same delivery of the same run is written again in place; a record that another
// run left, and a file that is damaged, moves to superseded/ first.
func (d *Directory) Record(ctx context.Context, record Record) error {
	name := FileName(record.TargetName, record.EventID)
	if err := d.record(ctx, name, record); err != nil {
		return fmt.Errorf("write the dead letter %s: %w", name, err)
	}
	return nil
}

func (d *Directory) record(ctx context.Context, name string, record Record) error {
	// On disk before the lock: many records at once wait for the disk together.
	pending, err := prepare(filepath.Join(d.path, name), record)
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }() // does nothing once it has its name
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	if err = d.supersede(name, record.RunID); err == nil {
		err = pending.CloseAtomicallyReplace()
	}
	unlock()
	if err != nil {
		return err
	}
	d.names.add(targetOf(name))
	return syncDir(d.path)
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
	return d.keep(open, filepath.Join(d.path, supersededDir), name, older.RunID, func(kept string) bool { return sameFile(open, kept) })
}

// Resolve moves the open record of a delivery to resolved/, with the time and
// the run that delivered it after all. Without an open record it does nothing,
// so it may be repeated. A damaged record is a *DamagedError and stays.
func (d *Directory) Resolve(ctx context.Context, target, eventID, runID string, at time.Time) error {
	name := FileName(target, eventID)
	if err := d.resolve(ctx, name, runID, at.UTC()); err != nil {
		return fmt.Errorf("resolve the dead letter %s: %w", name, err)
	}
	return nil
}

// resolve keeps the resolved record beside the open one, which only then goes: a
// crash between leaves both, and the next call finds its own work.
func (d *Directory) resolve(ctx context.Context, name, runID string, at time.Time) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	open := filepath.Join(d.path, name)
	record, err := read(open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	record.ResolvedAt, record.ResolvedRunID = &at, runID
	dir := filepath.Join(d.path, resolvedDir)
	pending, err := prepare(filepath.Join(dir, name), record)
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }() // by then it has a second name
	err = d.keep(pending.Name(), dir, name, record.RunID, func(kept string) bool { return sameResolution(kept, record) })
	if err != nil {
		return err
	}
	if err := os.Remove(open); err != nil {
		return err
	}
	return syncDir(d.path)
}

// sameResolution tells whether file holds the record, resolved by the same run
// at whatever time.
func sameResolution(file string, record Record) bool {
	kept, err := read(file)
	if err != nil {
		return false
	}
	kept.ResolvedAt, record.ResolvedAt = nil, nil
	a, errA := json.Marshal(kept)
	b, errB := json.Marshal(record)
	return errA == nil && errB == nil && string(a) == string(b)
}
