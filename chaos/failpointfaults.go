package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/internal/failpoint"
)

// failpointFaults kill a process at each failpoint.
func failpointFaults() []fault {
	var list []fault
	for _, name := range failpoint.Names() {
		m := "worker-1"
		if name == failpoint.StartAccepted {
			m = "ingest-1"
		}
		list = append(list, fault{name: "kill at failpoint " + string(name), lane: laneProcesses, inject: killAt(name, m)})
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
		if name == failpoint.AttemptBegun || name == failpoint.AttemptWritten {
			defer w.outageOfTarget()()
		}
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

var errNotReached = errors.New("the failpoint was not reached")

// outageOfTarget lets compliance answer 503 until it is mended, so that its deliveries enter the
// retry lane and fail there.
func (w *world) outageOfTarget() (mend func()) {
	w.weather.away.Store(true)
	return func() { w.weather.away.Store(false) }
}
