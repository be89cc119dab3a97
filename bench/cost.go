package main

import (
	"context"
	"time"

	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/workflows"
)

// meter reads the processor time that somebody has used so far.
type meter func() (time.Duration, error)

// cpu says what n events cost in processor time from now on. A busy neighbour
// changes it less than it changes a rate.
type cpu struct {
	meters map[string]meter
	before map[string]time.Duration
}

func startCPU(meters map[string]meter) (*cpu, error) {
	c := &cpu{meters: meters, before: make(map[string]time.Duration)}
	for name, read := range meters {
		used, err := read()
		if err != nil {
			return nil, err
		}
		c.before[name] = used
	}
	return c, nil
}

// perEvent adds what each has used since, in milliseconds per event.
func (c *cpu) perEvent(n int, into figures) error {
	for name, read := range c.meters {
		used, err := read()
		if err != nil {
			return err
		}
		into[name] = float64((used - c.before[name]).Microseconds()) / 1000 / float64(n)
	}
	return nil
}

// costs says what events cost everybody from now on.
type costs struct {
	fanout *fanout
	cpu    *cpu
	writes devstack.Writes
}

func (f *fanout) startCosts(ctx context.Context) (*costs, error) {
	c := &costs{fanout: f}
	var err error
	if f.setup.history {
		if c.writes, err = f.lab.writes(ctx); err != nil {
			return nil, err
		}
	}
	c.cpu, err = startCPU(map[string]meter{cpuServer: f.lab.temporal.CPU, cpuWorker: f.worker.CPU, cpuIngest: f.ingestCPU})
	return c, err
}

// perEvent adds what the events have cost since.
func (c *costs) perEvent(ctx context.Context, events []contactcentre.Event, into figures) error {
	if err := c.cpu.perEvent(len(events), into); err != nil || !c.fanout.setup.history {
		return err
	}
	after, err := c.fanout.lab.writes(ctx)
	if err != nil {
		return err
	}
	if n := float64(len(events)); after != (devstack.Writes{}) {
		into[dbTransactions] = float64(after.Transactions-c.writes.Transactions) / n
		into[dbRows] = float64(after.Rows()-c.writes.Rows()) / n
	}
	return c.fanout.lab.histories(ctx, events, into)
}

// ingestCPU is that of all ingest processes; they start at nothing.
func (f *fanout) ingestCPU() (time.Duration, error) {
	var all time.Duration
	for _, p := range f.ingests {
		used, err := p.CPU()
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// writer is a backend that counts what it writes.
type writer interface {
	Writes(ctx context.Context) (devstack.Writes, error)
}

// writes is what the backend has written so far; nothing where it does not say.
// It waits until all of it is counted.
func (l *lab) writes(ctx context.Context) (devstack.Writes, error) {
	counts, ok := l.temporal.(writer)
	if !ok {
		return devstack.Writes{}, nil
	}
	select {
	case <-time.After(devstack.WritesReportedAfter):
	case <-ctx.Done():
		return devstack.Writes{}, ctx.Err()
	}
	return counts.Writes(ctx)
}

// sampled is how many runs stand for all of a case.
const sampled = 20

// histories adds what a run costs in history, on average over runs from all of
// the case.
func (l *lab) histories(ctx context.Context, events []contactcentre.Event, into figures) error {
	c, err := l.temporal.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	n := min(sampled, len(events))
	for i := range n {
		e := events[i*len(events)/n]
		described, err := c.DescribeWorkflowExecution(ctx, workflows.ID(e.ID), "")
		if err != nil {
			return err
		}
		info := described.GetWorkflowExecutionInfo()
		into[histLen] += float64(info.GetHistoryLength()) / float64(n)
		into[histBytes] += float64(info.GetHistorySizeBytes()) / float64(n)
	}
	return nil
}
