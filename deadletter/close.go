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
)

// Resolve moves the open record of a delivery to resolved/, with the time and
// the run that delivered it after all. Without an open record it does nothing,
// so it may be repeated. A damaged record is a *DamagedError and stays.
func (d *Directory) Resolve(ctx context.Context, target, eventID, runID string, at time.Time) error {
	name, at := FileName(target, eventID), at.UTC()
	_, err := d.close(ctx, name, resolvedDir, func(record *Record) bool {
		record.ResolvedAt, record.ResolvedRunID = &at, runID
		return true
	})
	if err != nil {
		return fmt.Errorf("resolve the dead letter %s: %w", name, err)
	}
	return nil
}

// DiscardNote says who closed a record that nobody will send, when, and why.
type DiscardNote struct {
	At   time.Time
	By   string
	Note string
}

// Discard moves an open record to discarded/. It returns false, and does nothing,
// if the record is not open any more or if another run has replaced it. A damaged
// record is a *DamagedError and stays.
func (d *Directory) Discard(ctx context.Context, record Record, why DiscardNote) (discarded bool, err error) {
	name, at := FileName(record.TargetName, record.EventID), why.At.UTC()
	discarded, err = d.close(ctx, name, discardedDir, func(open *Record) bool {
		open.DiscardedAt, open.DiscardedBy, open.Note = &at, why.By, why.Note
		return open.RunID == record.RunID
	})
	if err != nil {
		return false, fmt.Errorf("discard the dead letter %s: %w", name, err)
	}
	return discarded, nil
}

// close moves the open record under name into a folder of closed ones, as change
// left it; if change returns false the record stays open.
func (d *Directory) close(ctx context.Context, name, folder string, change func(*Record) bool) (closed bool, err error) {
	closed, err = d.closeLocked(ctx, name, folder, change)
	var damaged *DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return false, d.wroteNot(ctx, err)
	}
	return closed, err
}

// closeLocked keeps the closed record beside the open one, which only then goes: a
// crash between leaves both, and the next call finds its own work.
func (d *Directory) closeLocked(ctx context.Context, name, folder string, change func(*Record) bool) (closed bool, err error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := d.present(); err != nil {
		return false, err
	}
	open := filepath.Join(d.path, name)
	record, err := read(open)
	if errors.Is(err, fs.ErrNotExist) {
		return false, d.present() // it may have been unmounted since
	}
	if err != nil {
		return false, err
	}
	if !change(&record) {
		return false, nil
	}
	pending, err := prepare(open, record)
	if err != nil {
		return false, err
	}
	defer func() { _ = pending.Cleanup() }() // by then it has a second name
	err = d.keep(pending.Name(), folder, name, record.RunID, func(kept string) bool { return sameClosing(kept, record) })
	if err != nil {
		return false, err
	}
	if err := os.Remove(open); err != nil {
		return false, err
	}
	return true, syncDir(d.path)
}

// sameClosing reports whether file holds the record, closed in the same way at
// whatever time.
func sameClosing(file string, record Record) bool {
	kept, err := read(file)
	if err != nil {
		return false
	}
	for _, one := range []*Record{&kept, &record} {
		one.ResolvedAt, one.DiscardedAt = nil, nil
	}
	a, errA := json.Marshal(kept)
	b, errB := json.Marshal(record)
	return errA == nil && errB == nil && string(a) == string(b)
}
