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

	"genesys-fanout/internal/failpoint"
)

// Resolve moves the open record of a delivery to resolved/, with the time and the run that
// delivered the event. If the delivery has no open record, Resolve does nothing, so it may
// be repeated. If the record is damaged, the error is a *DamagedError and the file stays.
func (t *Tracker) Resolve(ctx context.Context, target, eventID, runID string, at time.Time) error {
	name, at := FileName(target, eventID), at.UTC()
	_, err := t.close(ctx, name, resolvedDir, func(record *Record) bool {
		record.ResolvedAt, record.ResolvedRunID = &at, runID
		return true
	})
	if err != nil {
		return fmt.Errorf("resolve the dead letter %s: %w", name, err)
	}
	return nil
}

// DiscardNote says when a user discarded a record, who the user is, and why.
type DiscardNote struct {
	At   time.Time
	By   string
	Note string
}

// Discard moves an open record to discarded/. It returns false, and does nothing, if the
// record is no longer open or another run has replaced it. If the record is damaged, the
// error is a *DamagedError and the file stays.
func (t *Tracker) Discard(ctx context.Context, record Record, why DiscardNote) (discarded bool, err error) {
	name, at := FileName(record.TargetName, record.EventID), why.At.UTC()
	discarded, err = t.close(ctx, name, discardedDir, func(open *Record) bool {
		open.DiscardedAt, open.DiscardedBy, open.Note = &at, why.By, why.Note
		return open.RunID == record.RunID
	})
	if err != nil {
		return false, fmt.Errorf("discard the dead letter %s: %w", name, err)
	}
	return discarded, nil
}

// close moves the open record under name into a folder of closed records, with the fields
// that change sets. If change returns false, the record stays open.
func (t *Tracker) close(ctx context.Context, name, folder string, change func(*Record) bool) (closed bool, err error) {
	closed, err = t.closeLocked(ctx, name, folder, change)
	var damaged *DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return false, t.writeFailed(ctx, err)
	}
	return closed, err
}

// closeLocked first writes the closed record and then removes the open one. If a crash
// comes between the two, both exist, and the next call recognises the closed record as its
// own (sameClosing).
func (t *Tracker) closeLocked(ctx context.Context, name, folder string, change func(*Record) bool) (closed bool, err error) {
	unlock, err := t.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := t.verifyIdentity(); err != nil {
		return false, err
	}
	open := filepath.Join(t.path, name)
	record, err := readRecord(open)
	if errors.Is(err, fs.ErrNotExist) {
		return false, t.verifyIdentity() // the directory may have been unmounted since
	}
	if err != nil {
		return false, err
	}
	if !change(&record) {
		return false, nil
	}
	temporary, err := writeTemporary(open, record)
	if err != nil {
		return false, err
	}
	defer func() { _ = temporary.Cleanup() }() // the record is in folder by then
	err = t.linkInto(folder, temporary.Name(), name, record.RunID, func(existing string) bool { return sameClosing(existing, record) })
	if err != nil {
		return false, err
	}
	failpoint.Reach(failpoint.TrackerClosed)
	if err := os.Remove(open); err != nil {
		return false, err
	}
	return true, syncDir(t.path)
}

// sameClosing reports whether file is the record, closed in the same way at whatever time.
func sameClosing(file string, record Record) bool {
	closed, err := readRecord(file)
	if err != nil {
		return false
	}
	for _, one := range []*Record{&closed, &record} {
		one.ResolvedAt, one.DiscardedAt = nil, nil
	}
	a, errA := json.Marshal(closed)
	b, errB := json.Marshal(record)
	return errA == nil && errB == nil && string(a) == string(b)
}
