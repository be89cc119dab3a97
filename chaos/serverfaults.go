package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/internal/devstack"
)

// serverFaults end or stop Temporal, its database and the broker, and make Temporal's writes
// ambiguous.
func serverFaults() []fault {
	list := []fault{
		{name: "ambiguous writes in Temporal", lane: laneProcesses, needs: needsPostgres, inject: ambiguousWrites},
		{name: "Temporal restored from a dump", lane: laneRestore, needs: needsPostgres, inject: restore},
		{name: "kill the broker", lane: laneProcesses, inject: func(ctx context.Context, w *world, r *rand.Rand) error {
			w.kafka.Stop()
			pause(ctx, time.Duration(r.IntN(8))*time.Second)
			return w.kafka.Start(context.WithoutCancel(ctx))
		}},
		{name: "stop the broker by SIGTERM", lane: laneProcesses, needs: needsKafkaLink, inject: func(ctx context.Context, w *world, _ *rand.Rand) error {
			return errors.Join(w.kafka.ShutDown(ctx), w.kafka.Start(context.WithoutCancel(ctx)))
		}},
		{name: "pause the broker for 30 s", lane: laneProcesses, needs: needsKafkaLink, inject: func(ctx context.Context, w *world, _ *rand.Rand) error {
			p := w.kafka.Process()
			if err := p.Signal(syscall.SIGSTOP); err != nil {
				return err
			}
			pause(ctx, pauseLength)
			return p.Signal(syscall.SIGCONT)
		}},
	}
	temporal := func(w *world) devstack.Outages { return w.temporal }
	database := func(w *world) devstack.Outages { return w.postgres.Database() }
	list = append(list, outages("Temporal", nil, temporal)...)
	return append(list, outages("PostgreSQL", needsPostgres, database)...)
}

// outages are the faults of Temporal or of its database.
func outages(name string, needs func(*world) string, part func(*world) devstack.Outages) []fault {
	during := func(do func(ctx context.Context, p devstack.Outages) error) func(context.Context, *world, *rand.Rand) error {
		return func(ctx context.Context, w *world, _ *rand.Rand) error {
			w.temporalTurn.Lock()
			defer w.temporalTurn.Unlock()
			return w.whileTemporalIsAway(ctx, func() error { return do(ctx, part(w)) })
		}
	}
	return []fault{
		{name: "kill " + name, lane: laneProcesses, needs: needs, inject: during(func(ctx context.Context, p devstack.Outages) error {
			p.Kill()
			pause(ctx, rand.N(10*time.Second))
			return p.Start(context.WithoutCancel(ctx))
		})},
		{name: "stop " + name + " in order", lane: laneProcesses, needs: needs, inject: during(func(ctx context.Context, p devstack.Outages) error {
			return errors.Join(p.Stop(ctx), p.Start(context.WithoutCancel(ctx)))
		})},
		{name: "pause " + name + " for 30 s", lane: laneProcesses, needs: needs, inject: during(func(ctx context.Context, p devstack.Outages) error {
			if err := p.Pause(); err != nil {
				return err
			}
			pause(ctx, pauseLength)
			return p.Resume()
		})},
	}
}

// whileTemporalIsAway does something during which Temporal does not answer, and waits until it
// answers again.
func (w *world) whileTemporalIsAway(ctx context.Context, do func() error) error {
	end := w.journal.begin(audit.Disturbance{Cause: audit.TemporalAway})
	defer end()
	if err := do(); err != nil {
		return err
	}
	return w.waitTemporal(context.WithoutCancel(ctx))
}

// waitTemporal waits until Temporal answers.
func (w *world) waitTemporal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		_, err := w.client.CheckHealth(ctx, nil)
		if err == nil {
			return nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("no answer of Temporal again: %w", err)
		}
	}
}

func needsPostgres(w *world) string {
	if w.postgres == nil {
		return "there is no PostgreSQL"
	}
	return ""
}

// ambiguousTime is how long Temporal's persistence injects errors.
const ambiguousTime = time.Minute

// ambiguousWrites restarts Temporal with the fault injection of its persistence: some writes fail,
// and some succeed and are reported as failed.
func ambiguousWrites(ctx context.Context, w *world, r *rand.Rand) error {
	w.temporalTurn.Lock()
	defer w.temporalTurn.Unlock()
	method := func(name string, ambiguous bool) string {
		errors := `ResourceExhausted: 0.03, Timeout: 0.02`
		if ambiguous {
			errors += `, ExecuteAndTimeout: 0.05`
		}
		return fmt.Sprintf(`%s: {seed: %d, errors: {%s}}`, name, r.Int32(), errors)
	}
	w.postgres.Faults = fmt.Sprintf(`{targets: {dataStores: {ExecutionStore: {methods: {%s, %s, %s}}}}}`,
		method("CreateWorkflowExecution", true), method("UpdateWorkflowExecution", true), method("AppendHistoryNodes", true))
	defer w.journal.begin(audit.Disturbance{Cause: audit.TemporalAway})() // for the writes that are lost
	if err := w.restartTemporal(ctx); err != nil {
		return err
	}
	pause(ctx, ambiguousTime)
	w.postgres.Faults = ""
	return w.restartTemporal(ctx)
}

func (w *world) restartTemporal(ctx context.Context) error {
	return w.whileTemporalIsAway(ctx, func() error {
		return errors.Join(w.temporal.Stop(ctx), w.temporal.Start(context.WithoutCancel(ctx)))
	})
}

// dumpAge is how old the dump is when Temporal is restored from it.
const dumpAge = 2 * time.Minute

// restore restores Temporal's databases from a dump, while Kafka keeps its offsets, and follows the
// runbook: the group is rewound to before the dump, because Temporal has forgotten the runs since.
func restore(ctx context.Context, w *world, _ *rand.Rand) error {
	if !pause(ctx, 30*time.Second) { // so that there are runs before the dump
		return nil
	}
	offsets, err := w.committed(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	dump, err := w.postgres.Dump(ctx)
	if err != nil {
		return err
	}
	w.journal.note("  the dump took %s", time.Since(began).Round(100*time.Millisecond))
	if !pause(ctx, dumpAge) {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	defer takeTurns(w.members)()
	w.temporalTurn.Lock()
	defer w.temporalTurn.Unlock()
	w.journal.note("  restore")
	failure := stopAll(ctx, w.members)
	failure = errors.Join(failure, w.whileTemporalIsAway(ctx, func() error {
		return errors.Join(w.temporal.Stop(ctx), w.postgres.Restore(ctx, dump), w.temporal.Start(ctx))
	}))
	w.journal.add(audit.Disturbance{Cause: audit.TemporalRestored, From: began, To: time.Now()})
	return errors.Join(failure, w.commit(ctx, offsets), startAll(ctx, w.members))
}
