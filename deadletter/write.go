package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"

	"genesys-fanout/event"
	"genesys-fanout/internal/failpoint"
)

// Record writes a dead letter. If it returns nil, the record is on disk: its file and the
// entry of the directory are fsynced. A record of the same delivery and the same run is
// replaced. A record of another run, and a damaged file, moves to superseded/ first.
func (t *Tracker) Record(ctx context.Context, record Record) error {
	name := FileName(record.TargetName, record.EventID)
	if err := t.record(ctx, name, record); err != nil {
		return fmt.Errorf("write the dead letter %s: %w", name, t.writeFailed(ctx, err))
	}
	return nil
}

func (t *Tracker) record(ctx context.Context, name string, record Record) error {
	if err := t.verifyIdentity(); err != nil {
		return err
	}
	// Both files are fsynced before the lock, because then many records that are written
	// at the same time wait for the disk together.
	if err := t.addTarget(record.TargetName); err != nil {
		return err
	}
	temporary, err := writeTemporary(filepath.Join(t.path, name), record)
	if err != nil {
		return err
	}
	defer func() { _ = temporary.Cleanup() }() // does nothing after the rename
	failpoint.Reach(failpoint.TrackerWritten)
	if err := t.replace(ctx, name, record.RunID, temporary.CloseAtomicallyReplace); err != nil {
		return err
	}
	failpoint.Reach(failpoint.TrackerRenamed)
	return syncDir(t.path)
}

// replace publishes the new record under name. First it hard-links the older record of that
// name into superseded/. Then it renames the new record over it, under the lock.
func (t *Tracker) replace(ctx context.Context, name, runID string, rename func() error) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.verifyIdentity(); err != nil {
		return err
	}
	if err := t.linkToSuperseded(name, runID); err != nil {
		return err
	}
	return rename()
}

// linkToSuperseded hard-links the open record under name into superseded/, unless the run runID
// wrote it. The caller then renames the new record over name, so that the delivery has an open
// record at every moment.
func (t *Tracker) linkToSuperseded(name, runID string) error {
	open := filepath.Join(t.path, name)
	older, err := readRecord(open)
	var damaged *DamagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && older.RunID == runID:
		return nil
	case err != nil && !errors.As(err, &damaged):
		return err
	}
	err = t.linkInto(supersededDir, open, name, older.RunID, func(existing string) bool { return sameContent(open, existing) })
	failpoint.Reach(failpoint.TrackerLinked)
	return err
}

// writeFailed records that a write failed, unless the caller gave up on it, and returns why
// the write failed.
func (t *Tracker) writeFailed(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		t.lastWriteFailed.Store(true)
	}
	return t.unavailableOr(err)
}

// writeTemporary writes a record and fsyncs it, under a temporary name beside file. Readers
// do not see it before it is renamed or linked.
func writeTemporary(file string, record Record) (*renameio.PendingFile, error) {
	data, err := encode(record)
	if err != nil {
		return nil, err
	}
	return writeTemporaryFile(file, data)
}

func writeTemporaryFile(file string, data []byte) (*renameio.PendingFile, error) {
	temporary, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)), renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return nil, err
	}
	if _, err = temporary.Write(data); err == nil {
		err = temporary.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, temporary.Cleanup())
	}
	return temporary, nil
}

// linkInto hard-links file into a folder of closed records, and fsyncs the folder. It overwrites
// nothing: it uses the first of candidateNames that no file has. If isSame returns true for a
// file that has such a name, an earlier call that a crash interrupted has made it, and linkInto
// is done.
func (t *Tracker) linkInto(folder, file, name, runID string, isSame func(existing string) bool) error {
	if err := t.makeFolder(folder); err != nil {
		return err
	}
	dir := filepath.Join(t.path, folder)
	for candidate := range candidateNames(name, runID) {
		newName := filepath.Join(dir, candidate)
		err := t.link(file, newName)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = copyFile(file, newName) // the file system may have no links
		}
		switch {
		case err == nil:
			return syncDir(dir)
		case !errors.Is(err, fs.ErrExist):
			return err
		case isSame(newName):
			return syncDir(dir)
		}
	}
	return nil
}

// longestRunID is the length of a UUID, the form of all run IDs of Temporal. With a run ID
// of that length the longest file name still fits the 255 bytes that file systems allow.
const longestRunID = 36

// candidateNames yields the names that a closed record may have, without end: first name,
// then name with the run ID, and then with a number.
func candidateNames(name, runID string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(name) {
			return
		}
		if run := event.EscapeFileName(runID); run != "" && len(run) <= longestRunID {
			name += "." + run
			if !yield(name) {
				return
			}
		}
		for i := 2; yield(name + "." + strconv.Itoa(i)); i++ {
		}
	}
}

// copyFile copies a file to a new file and fsyncs that. If a crash interrupts it, the
// incomplete copy stays; the file itself is still there, and its next copy takes the next
// candidate name.
func copyFile(file, to string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(to)) // or each retry on a full disk would leave a copy
	}
	return nil
}

// sameContent reports whether two files have the same bytes.
func sameContent(a, b string) bool {
	dataA, errA := os.ReadFile(a)
	dataB, errB := os.ReadFile(b)
	return errA == nil && errB == nil && bytes.Equal(dataA, dataB)
}

// syncDir fsyncs the entries of a directory.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
