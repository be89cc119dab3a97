package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/failpoint"
)

// trackerTime is how long a disk is full, read-only or slow.
const trackerTime = time.Minute

// trackerFaults are faults of the disk of the tracker, and a record that is damaged.
func trackerFaults() []fault {
	return []fault{
		{name: "the tracker's disk is full", lane: laneTracker, needs: needsMount, inject: fullDisk},
		{name: "the tracker's disk is read-only", lane: laneTracker, needs: needsMount, inject: readOnlyDisk},
		{name: "the tracker's disk is slow", lane: laneTracker, inject: slowDisk},
		{name: "a record is damaged", lane: laneTracker, inject: damageRecord},
	}
}

func needsMount(w *world) string {
	if !w.mounted {
		return "only root can mount a file system for the tracker"
	}
	return ""
}

// fullDisk fills the file system of the tracker.
func fullDisk(ctx context.Context, w *world, _ *rand.Rand) error {
	filler := filepath.Join(w.tracker, ".filler")
	f, err := os.Create(filler) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	defer os.Remove(filler) //nolint:errcheck // the disk is not full any more, or the run ends
	if _, err := io.Copy(f, zeros{}); err == nil {
		return errors.New("the disk did not become full")
	}
	if err := f.Close(); err != nil {
		return err
	}
	pause(ctx, trackerTime)
	return nil
}

// zeros is an endless source of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func readOnlyDisk(ctx context.Context, w *world, _ *rand.Rand) error {
	if err := w.remount(ctx, "ro"); err != nil {
		return err
	}
	pause(ctx, trackerTime)
	return w.remount(context.WithoutCancel(ctx), "rw")
}

// slowDisk restarts a worker in which each record takes two seconds longer.
func slowDisk(ctx context.Context, w *world, _ *rand.Rand) error {
	m := w.member("worker-2")
	m.turn.Lock()
	err := errors.Join(m.stop(ctx), m.startAndWait(ctx, "FAILPOINTS="+string(failpoint.TrackerWritten)+"=sleep(2s)"))
	m.turn.Unlock()
	if err != nil {
		return err
	}
	pause(ctx, trackerTime)
	m.turn.Lock()
	defer m.turn.Unlock()
	return m.restart(context.WithoutCancel(ctx))
}

// records reads the open records. A damaged one is an error.
func (w *world) records(ctx context.Context) iter.Seq2[deadletter.Record, error] {
	tracker, err := deadletter.OpenExisting(w.tracker)
	if err != nil {
		return func(yield func(deadletter.Record, error) bool) { yield(deadletter.Record{}, err) }
	}
	return tracker.All(ctx)
}

// damageRecord damages an open record by hand, and repairs it after a while, unless a newer one has
// replaced it.
func damageRecord(ctx context.Context, w *world, _ *rand.Rand) error {
	for r, err := range w.records(ctx) {
		if err != nil || r.Reason != event.ReasonRejected {
			continue
		}
		file := filepath.Join(w.tracker, deadletter.FileName(r.TargetName, r.EventID))
		whole, err := os.ReadFile(file) //nolint:gosec // our own folder
		if err != nil {
			return err
		}
		damaged := whole[:len(whole)/2]
		if err := renameio.WriteFile(file, damaged, 0o600, renameio.WithTempDir(w.tracker)); err != nil {
			return err
		}
		w.journal.note("  %s", filepath.Base(file))
		pause(ctx, trackerTime)
		now, err := os.ReadFile(file) //nolint:gosec // our own folder
		if err != nil || string(now) != string(damaged) {
			return nil // a newer record is there, or none
		}
		return renameio.WriteFile(file, whole, 0o600, renameio.WithTempDir(w.tracker))
	}
	w.journal.note("  there is no rejected record to damage")
	return nil
}
