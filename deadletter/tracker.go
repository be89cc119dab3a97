package deadletter

import (
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

// closedDirs are the folders of the closed records.
var closedDirs = []string{supersededDir, resolvedDir, discardedDir}

// Tracker is the directory of FANOUT_DEAD_LETTERS: one file for each open record, and a folder
// for each way in which a record closes. Several processes may share it. A reader needs no lock,
// because a file is visible only when it is complete. A Tracker is safe for concurrent use.
type Tracker struct {
	path            string
	id              string                              // empty if OpenExisting found no identity
	writer          chan struct{}                       // contains a token while this process writes
	link            func(oldname, newname string) error // os.Link; not every file system supports it
	syncedTargets   sync.Map                            // targets whose file in targets/ this process has fsynced
	lastWriteFailed atomic.Bool                         // Check then tries a write
	counter         openCounter
}

// Open opens the tracker at path, to read and to write. If the directory, its folders or its
// identity are missing, Open creates them, with permissions for the user alone. It fails if
// a record could not be written. But if the disk of an existing tracker is full or read-only, Open
// succeeds and Check reports the disk, because the disk may recover, and a process that ends would
// not deliver meanwhile.
func Open(path string) (*Tracker, error) {
	t, err := create(path)
	if !isDiskFault(err) {
		return t, err
	}
	existing, errExisting := OpenExisting(path)
	if errExisting != nil || existing.id == "" {
		return nil, err
	}
	existing.lastWriteFailed.Store(true)
	return existing, nil
}

// create opens the tracker at path, and creates what is missing.
func create(path string) (*Tracker, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the tracker's folder: %w", err)
	}
	if err := probeWrite(path); err != nil {
		return nil, err
	}
	t := newTracker(path)
	for _, folder := range closedDirs {
		if err := t.makeFolder(folder); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
	}
	for _, dir := range []string{filepath.Dir(path), path} { // either may be new
		if err := syncDir(dir); err != nil {
			return nil, fmt.Errorf("make the tracker's folder: %w", err)
		}
	}
	if err := t.loadOrCreateIdentity(); err != nil {
		return nil, err
	}
	if err := t.createTargetList(); err != nil {
		return nil, fmt.Errorf("list the targets of the tracker: %w", err)
	}
	for _, folder := range t.folders() {
		if err := probeWrite(folder); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// folders returns the paths of all folders into which the tracker writes.
func (t *Tracker) folders() []string {
	paths := []string{t.path, filepath.Join(t.path, targetsDir)}
	for _, folder := range closedDirs {
		paths = append(paths, filepath.Join(t.path, folder))
	}
	return paths
}

// OpenExisting opens the tracker at path as it is. It creates nothing, and does not try to
// write. It is for callers that only read, or that close records.
func OpenExisting(path string) (*Tracker, error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the tracker: %w", err)
	}
	t := newTracker(path)
	ids, err := readIdentities(path)
	switch {
	case err == nil:
		t.id = ids[0]
	case !errors.Is(err, fs.ErrNotExist): // without the file, a worker creates it when it starts
		return nil, fmt.Errorf("read the tracker's identity: %w", err)
	}
	return t, nil
}

func newTracker(path string) *Tracker {
	return &Tracker{path: path, writer: make(chan struct{}, 1), link: os.Link}
}

// makeFolder creates a folder of the tracker if it is missing. It never creates the
// directory itself: a directory that vanished while the process runs was probably a mount,
// and records written in its place would be hidden once it is mounted again.
func (t *Tracker) makeFolder(folder string) error {
	err := os.Mkdir(filepath.Join(t.path, folder), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(t.path)
}

// FileName returns the file name of a delivery's record. A record of OversizeTarget may
// have its event's id in the form of event.Cut; its file name is that of the whole id.
func FileName(target, eventID string) string {
	escape := event.EscapeFileName
	if target == event.OversizeTarget {
		escape = event.EscapeCutFileName
	}
	return event.EscapeFileName(target) + "_" + escape(eventID) + ".json"
}

// File returns the path that the open record of a delivery has, whether it exists or not.
func (t *Tracker) File(target, eventID string) string {
	return filepath.Join(t.path, FileName(target, eventID))
}
