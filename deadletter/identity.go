package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// identityFile holds the identity of the tracker: a UUID on its first line. The
// lines below it are the identities of trackers whose records an operator has
// moved into this directory.
const identityFile = ".tracker"

// UnavailableError says that the directory does not hold the tracker that was opened:
// it is gone, or something else is mounted there. Nothing was read or written.
// It wraps nothing, because the fs.ErrNotExist of a missing directory would
// read as that of a missing record.
type UnavailableError struct{ What string }

// Error says what is at the directory instead, and the cure.
func (e *UnavailableError) Error() string { return e.What }

// ID is the identity of the tracker. It is empty for one that Existing found
// without an identity.
func (d *Directory) ID() string { return d.id }

// HasRecordsOf reports whether the records of the tracker id are kept here: if it is
// this tracker, or one of those that were moved into it.
func (d *Directory) HasRecordsOf(_ context.Context, id string) (bool, error) {
	if id == d.id {
		return true, nil
	}
	ids, err := readIdentities(d.path)
	if err != nil {
		return false, d.explain(err)
	}
	return slices.Contains(ids, id), nil
}

// String names the tracker for people: its directory and its identity.
func (d *Directory) String() string {
	path, err := filepath.Abs(d.path)
	if err != nil {
		path = d.path
	}
	if d.id == "" {
		return path
	}
	return fmt.Sprintf("%s (%s)", path, d.id)
}

// present fails with *UnavailableError unless the directory holds the tracker that was
// opened. Every answer that a record is not there needs it, because a directory
// that is unmounted has no records either.
func (d *Directory) present() error {
	const cure = "it is not made anew while the process runs: mount it again, or restart the process if this is meant"
	if d.id == "" {
		if _, err := os.Stat(d.path); err != nil {
			return &UnavailableError{fmt.Sprintf("the tracker %s is away: %v", d, err)}
		}
		return nil
	}
	ids, err := readIdentities(d.path)
	var unread *fs.PathError
	switch {
	case errors.As(err, &unread):
		return &UnavailableError{fmt.Sprintf("the tracker %s is away: %v; %s", d, err, cure)}
	case err != nil:
		return err
	case ids[0] != d.id:
		return &UnavailableError{fmt.Sprintf("the tracker %s is away: its directory holds the tracker %s now; %s", d, ids[0], cure)}
	}
	return nil
}

// explain returns why an operation failed: if the tracker is away that is the
// reason, whatever the operation said.
func (d *Directory) explain(err error) error {
	if away, ok := errors.AsType[*UnavailableError](d.present()); ok {
		return away
	}
	return err
}

// readIdentities reads the identity file of a directory. The first identity is
// that of the tracker itself.
func readIdentities(path string) ([]string, error) {
	file := filepath.Join(path, identityFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	ids := strings.Fields(string(data))
	for _, id := range ids {
		if uuid.Validate(id) != nil {
			return nil, fmt.Errorf("%s is damaged: %q is not a UUID; restore the file, or write the identity that worker logged at its start", file, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s is damaged: it is empty; restore the file, or write the identity that worker logged at its start", file)
	}
	return ids, nil
}

// identifyTimeout is how long another process may hold the lock at a start; what
// is done under it takes milliseconds.
const identifyTimeout = 30 * time.Second

// identify reads the identity of the tracker, and makes one for a tracker that
// has none. Processes that do so at the same time get the same one.
func (d *Directory) identify() error {
	ctx, cancel := context.WithTimeout(context.Background(), identifyTimeout)
	defer cancel()
	unlock, err := d.lock(ctx)
	if err != nil {
		return fmt.Errorf("lock the tracker: %w", err)
	}
	defer unlock()
	ids, err := readIdentities(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = d.makeIdentity(); err == nil {
			ids, err = readIdentities(d.path)
		}
	}
	if err != nil {
		return fmt.Errorf("read the tracker's identity: %w", err)
	}
	d.id = ids[0]
	return nil
}

// makeIdentity writes a new identity, whole or not at all. If another process was
// faster its identity stays: a link never replaces a file, and a file system
// without links relies on the lock.
func (d *Directory) makeIdentity() error {
	file := filepath.Join(d.path, identityFile)
	pending, err := writePending(file, []byte(uuid.NewString()+"\n"))
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }() // the file has a second name by then
	err = d.link(pending.Name(), file)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = pending.CloseAtomicallyReplace()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(d.path)
}
