package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/internal/failpoint"
)

// failpointFaults kill a process at each failpoint.
func failpointFaults() []fault {
	var list []fault
	for _, name := range failpoint.Names() {
		m, l := "worker-1", laneProcesses
		switch {
		case name == failpoint.StartAccepted:
			m = "ingest-1"
		case strings.HasPrefix(string(name), "tracker."):
			l = laneTracker // not while the disk is full or read-only
		}
		list = append(list, fault{name: "kill at failpoint " + string(name), lane: l, inject: killAt(name, m)})
	}
	return list
}

// failpointWait is how long a process may take to reach its failpoint.
const failpointWait = 40 * time.Second

// killAt restarts a member so that it kills itself at a failpoint, and starts it again.
func killAt(name failpoint.Name, memberName string) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, r *rand.Rand) error {
		m := w.member(memberName)
		m.turn.Lock()
		defer m.turn.Unlock()
		if err := m.stop(ctx); err != nil {
			return err
		}
		defer w.leadTo(ctx, name)()
		armed := fmt.Sprintf("FAILPOINTS=%s=kill@%d", name, 1+r.IntN(3))
		if err := m.start(context.WithoutCancel(ctx), armed); err != nil {
			return err
		}
		p, sender := m.current(true)
		waiting, cancel := context.WithTimeout(ctx, failpointWait)
		defer cancel()
		select {
		case <-p.Done():
			died := time.Now()
			w.journal.disturbed(audit.Disturbance{Cause: audit.Killed, Process: sender})
			err := m.startAndWait(ctx)
			w.journal.note("  %s was killed there, and ready again after %s", sender, time.Since(died).Round(100*time.Millisecond))
			return err
		case <-waiting.Done():
			w.journal.note("  %s did not get there within %s", sender, failpointWait)
			return errors.Join(errNotReached, m.stop(context.WithoutCancel(ctx)), m.startAndWait(ctx))
		}
	}
}

// leadTo brings about what leads to a failpoint: an outage of a target fills the retry lane, a replay
// to a target that rejects again supersedes records, and one to a target that is repaired resolves
// them.
func (w *world) leadTo(ctx context.Context, name failpoint.Name) (end func()) {
	replay := func() func() {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for pause(ctx, 3*time.Second) {
				_ = replayAll(ctx, w, nil) // it fails if the worker was killed
			}
		}()
		return func() { cancel(); <-done }
	}
	switch name {
	case failpoint.AttemptBegun, failpoint.AttemptWritten:
		return w.outageOfTarget()
	case failpoint.TrackerLinked:
		return replay()
	case failpoint.TrackerClosed:
		w.weather.repaired.Store(true)
		stop := replay()
		return func() { stop(); w.weather.repaired.Store(false) }
	}
	return func() {}
}

var errNotReached = errors.New("the failpoint was not reached")

// outageOfTarget lets compliance answer 503 until it is mended, so that its deliveries enter the
// retry lane and fail there.
func (w *world) outageOfTarget() (mend func()) {
	w.weather.away.Store(true)
	return func() { w.weather.away.Store(false) }
}
