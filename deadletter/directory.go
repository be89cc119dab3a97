package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"genesys-fanout/event"
)

const (
	supersededDir = "superseded"
	resolvedDir   = "resolved"
	discardedDir  = "discarded"
)

// closedDirs are the folders of the records that are no longer open.
var closedDirs = []string{supersededDir, resolvedDir, discardedDir}

// Directory is the tracker: one file per open dead letter, and a folder for each
// way in which a record closes. Several processes may share it. A reader needs
// no lock: it sees a record whole or not at all.
type Directory struct {
	path   string
	id     string                              // empty: it was found without one
	writer chan struct{}                       // holds a token while this process writes
	link   func(oldname, newname string) error // os.Link; not every file system has it
	listed sync.Map                            // targets whose file in targets/ this process knows to be on disk
	failed atomic.Bool                         // the last write failed: Check tries one
	census census
}

// Open opens the tracker at path. It makes the directory, its folders and its
// identity if they are missing, for the user alone. It fails if no record could
// be written.
func Open(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the tracker's folder: %w", err)
	}
	if err := tryFile(path); err != nil {
		return nil, err
	}
	d := newDirectory(path)
	for _, folder := range closedDirs {
		if err := d.makeFolder(folder); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
	}
	for _, dir := range []string{filepath.Dir(path), path} { // either may be new
		if err := syncDir(dir); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
	}
	if err := d.identify(); err != nil {
		return nil, err
	}
	if err := d.listTargets(); err != nil {
		return nil, fmt.Errorf("list the targets of the tracker: %w", err)
	}
	for _, folder := range d.folders() {
		if err := tryFile(folder); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// folders are the paths into which the tracker writes.
func (d *Directory) folders() []string {
	paths := []string{d.path, filepath.Join(d.path, targetsDir)}
	for _, folder := range closedDirs {
		paths = append(paths, filepath.Join(d.path, folder))
	}
	return paths
}

// OpenExisting opens the tracker at path as it is: it makes nothing and tries
// nothing there. It is for those who only read, or close records.
func OpenExisting(path string) (*Directory, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the tracker: %w", err)
	}
	d := newDirectory(path)
	ids, err := readIdentities(path)
	switch {
	case err == nil:
		d.id = ids[0]
	case !errors.Is(err, fs.ErrNotExist): // a worker of this version makes it at its start
		return nil, fmt.Errorf("read the tracker's identity: %w", err)
	}
	return d, nil
}

func newDirectory(path string) *Directory {
	return &Directory{path: path, writer: make(chan struct{}, 1), link: os.Link}
}

// makeFolder makes a folder of the tracker if it is missing. It never makes the
// directory itself: one that vanished while the process runs is mounted again, and
// what would be written in its place is lost to that.
func (d *Directory) makeFolder(folder string) error {
	err := os.Mkdir(filepath.Join(d.path, folder), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(d.path)
}

// FileName is the name of a delivery's record. A record of OversizeTarget may hold
// its event's id as event.Cut left it, and has the name of the whole id.
func FileName(target, eventID string) string {
	escape := event.EscapeFileName
	if target == event.OversizeTarget {
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
		return fmt.Errorf("write the dead letter %s: %w", name, d.wroteNot(ctx, err))
	}
	return nil
}

func (d *Directory) record(ctx context.Context, name string, record Record) error {
	if err := d.present(); err != nil {
		return err
	}
	// On disk before the lock, because many records at once wait for the disk together.
	if err := d.remember(record.TargetName); err != nil {
		return err
	}
	pending, err := prepare(filepath.Join(d.path, name), record)
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }() // does nothing once it has its name
	if err := d.replace(ctx, name, record.RunID, pending.CloseAtomicallyReplace); err != nil {
		return err
	}
	return syncDir(d.path)
}

// replace gives the newer record its name, after the older one under that name
// has another.
func (d *Directory) replace(ctx context.Context, name, runID string, rename func() error) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.present(); err != nil {
		return err
	}
	if err := d.supersede(name, runID); err != nil {
		return err
	}
	return rename()
}

// supersede gives the file under name a second name in superseded/, so that the
// rename of the newer record over it leaves no moment without one.
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
	return d.keep(open, supersededDir, name, older.RunID, func(kept string) bool { return sameFile(open, kept) })
}

// wroteNot notes that a write failed, unless the caller gave up on it, and returns
// why it failed.
func (d *Directory) wroteNot(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		d.failed.Store(true)
	}
	return d.explain(err)
}
