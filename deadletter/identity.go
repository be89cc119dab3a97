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

// identityFile is the file with the identity of the tracker, a UUID, on its first line. The
// lines below it are the identities of trackers whose records an operator has moved into
// this directory.
const identityFile = ".tracker"

// UnavailableError means that the directory is not the tracker that was opened: it is not
// mounted, it cannot be read, or another tracker has replaced it. Nothing was read or written. The error wraps nothing,
// because callers would take the fs.ErrNotExist of a missing directory for that of a missing
// record.
type UnavailableError struct{ What string }

// Error says what was found in place of the tracker, and the cure.
func (e *UnavailableError) Error() string { return e.What }

// ID returns the identity of the tracker. It is empty if OpenExisting found a tracker
// without an identity.
func (t *Tracker) ID() string { return t.id }

// HasRecordsOf reports whether this directory has the records of the tracker id: id is this
// tracker, or one whose records were moved into it.
func (t *Tracker) HasRecordsOf(_ context.Context, id string) (bool, error) {
	if id == t.id {
		return true, nil
	}
	ids, err := readIdentities(t.path)
	if err != nil {
		return false, t.unavailableOr(err)
	}
	return slices.Contains(ids, id), nil
}

// String returns the directory and the identity of the tracker, for messages.
func (t *Tracker) String() string {
	path, err := filepath.Abs(t.path)
	if err != nil {
		path = t.path
	}
	if t.id == "" {
		return path
	}
	return fmt.Sprintf("%s (%s)", path, t.id)
}

// verifyIdentity returns an *UnavailableError unless the directory is the tracker that was
// opened. It must precede or follow each answer that a record does not exist, because a
// directory that is unmounted has no records either.
func (t *Tracker) verifyIdentity() error {
	const cure = "the process does not create it again while it runs: mount it again, or restart the process if the change is intended"
	if t.id == "" {
		if _, err := os.Stat(t.path); err != nil {
			return &UnavailableError{fmt.Sprintf("the tracker %s %s: %v", t, unreadable(err), err)}
		}
		return nil
	}
	ids, err := readIdentities(t.path)
	var readErr *fs.PathError
	switch {
	case errors.As(err, &readErr):
		return &UnavailableError{fmt.Sprintf("the tracker %s %s: %v; %s", t, unreadable(err), err, cure)}
	case err != nil:
		return err
	case ids[0] != t.id:
		return &UnavailableError{fmt.Sprintf("the tracker %s has been replaced: its directory now has the tracker %s; %s", t, ids[0], cure)}
	}
	return nil
}

// unreadable says in words what the error of a read of the directory means.
func unreadable(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "is not mounted"
	}
	return "cannot be read"
}

// unavailableOr returns the *UnavailableError of verifyIdentity if there is one, because that is
// why the operation failed, and otherwise err.
func (t *Tracker) unavailableOr(err error) error {
	if unavailable, ok := errors.AsType[*UnavailableError](t.verifyIdentity()); ok {
		return unavailable
	}
	return err
}

// readIdentities reads the identity file of a directory. The first identity is that of the
// tracker itself.
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

// identityTimeout is how long Open waits for the lock. Its owner needs milliseconds.
const identityTimeout = 30 * time.Second

// loadOrCreateIdentity reads the identity of the tracker, and creates one if it has none.
// Processes that do so at the same time get the same identity.
func (t *Tracker) loadOrCreateIdentity() error {
	ctx, cancel := context.WithTimeout(context.Background(), identityTimeout)
	defer cancel()
	unlock, err := t.lock(ctx)
	if err != nil {
		return fmt.Errorf("lock the tracker: %w", err)
	}
	defer unlock()
	ids, err := readIdentities(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = t.createIdentity(); err == nil {
			ids, err = readIdentities(t.path)
		}
	}
	if err != nil {
		return fmt.Errorf("read the tracker's identity: %w", err)
	}
	t.id = ids[0]
	return nil
}

// createIdentity writes a new identity. If another process was faster, its identity stays,
// because a link never replaces a file; on a file system without links, only the lock
// prevents that.
func (t *Tracker) createIdentity() error {
	file := filepath.Join(t.path, identityFile)
	temporary, err := writeTemporaryFile(file, []byte(uuid.NewString()+"\n"))
	if err != nil {
		return err
	}
	defer func() { _ = temporary.Cleanup() }() // the file has its name by then
	err = t.link(temporary.Name(), file)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = temporary.CloseAtomicallyReplace()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(t.path)
}
