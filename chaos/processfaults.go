package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"genesys-fanout/chaos/audit"
)

// pauseLength is how long a process is stopped by SIGSTOP. It is longer than a process may be silent
// until it counts as killed.
const pauseLength = 30 * time.Second

// processFaults end or stop one of our processes.
func processFaults() []fault {
	var list []fault
	for _, name := range []string{"worker-1", "worker-2", "ingest-1", "ingest-2"} {
		list = append(list,
			fault{name: "kill " + name, lane: laneProcesses, inject: onMember(name, (*member).kill)},
			fault{name: "stop " + name + " by SIGTERM", lane: laneProcesses, inject: onMember(name, (*member).restart)},
		)
	}
	for _, name := range []string{"worker-1", "ingest-1"} {
		list = append(list, fault{name: "pause " + name + " for 30 s", lane: laneProcesses, inject: onMember(name, (*member).pause)})
	}
	return list
}

// member returns the member with a name.
func (w *world) member(name string) *member {
	for _, m := range w.members {
		if m.name == name {
			return m
		}
	}
	panic("chaos: there is no member " + name)
}

// onMember makes a fault of one that happens to a member.
func onMember(name string, f func(m *member, ctx context.Context) error) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, _ *rand.Rand) error {
		m := w.member(name)
		m.turn.Lock()
		defer m.turn.Unlock()
		return f(m, ctx)
	}
}

// kill kills the process and starts it again.
func (m *member) kill(ctx context.Context) error {
	p, sender := m.current(true)
	m.world.journal.disturbed(audit.Disturbance{Cause: audit.Killed, Process: sender})
	p.Kill()
	pause(ctx, rand.N(3*time.Second))
	return m.startAndWait(ctx)
}

// startAndWait starts the process with additional settings and waits until it serves /healthz. It does
// not wait until the process is ready, because another fault may last. The process starts also if ctx
// has ended, because a fault mends what it has done.
func (m *member) startAndWait(ctx context.Context, extra ...string) error {
	if err := m.start(context.WithoutCancel(ctx), extra...); err != nil {
		return err
	}
	p, sender := m.current(false)
	if err := p.WaitStatus(ctx, "/healthz", http.StatusOK); err != nil {
		return fmt.Errorf("%s: %w", sender, err)
	}
	return nil
}

// restart ends the process by SIGTERM and starts it again.
func (m *member) restart(ctx context.Context) error {
	if err := m.stop(ctx); err != nil {
		return err
	}
	return m.startAndWait(ctx)
}

// stop ends the process by SIGTERM. If it does not end in time, it is killed.
func (m *member) stop(ctx context.Context) error {
	p, sender := m.current(true)
	began := time.Now()
	defer m.world.journal.begin(audit.Disturbance{Cause: audit.Stopped, Process: sender})()
	code, err := p.Stop(context.WithoutCancel(ctx))
	switch took := time.Since(began); {
	case err != nil:
		m.world.journal.disturbed(audit.Disturbance{Cause: audit.Killed, Process: sender})
		return fmt.Errorf("%s did not stop: %w", sender, err)
	case code != 0:
		return fmt.Errorf("%s stopped with status %d after %s", sender, code, took)
	case took > m.world.longestStop():
		return fmt.Errorf("%s took %s to stop; %s is the limit", sender, took, m.world.longestStop())
	}
	return nil
}

// longestStop is how long a process may take to stop: the longest timeout of a target and 10 s. The
// second more is for the machine.
func (w *world) longestStop() time.Duration {
	longest := time.Duration(0)
	for _, t := range w.targets {
		longest = max(longest, t.timeout)
	}
	return longest + 11*time.Second
}

// pause stops the process by SIGSTOP, and continues it later.
func (m *member) pause(ctx context.Context) error {
	p, sender := m.current(false)
	end := m.world.journal.begin(audit.Disturbance{Cause: audit.Paused, Process: sender})
	defer end()
	if err := p.Pause(); err != nil {
		return err
	}
	pause(ctx, pauseLength)
	return p.Resume()
}
