package main

import (
	"context"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
)

// meter returns the processor time that a process has used since its start.
type meter func() (time.Duration, error)

// cpuCost measures the processor time per event. Other load on the machine changes it
// less than it changes a rate.
type cpuCost struct {
	meters map[string]meter
	before map[string]time.Duration
}

// startCPUCost begins a measurement.
func startCPUCost(meters map[string]meter) (*cpuCost, error) {
	c := &cpuCost{meters: meters, before: make(map[string]time.Duration)}
	for name, read := range meters {
		used, err := read()
		if err != nil {
			return nil, err
		}
		c.before[name] = used
	}
	return c, nil
}

// addPerEvent adds the processor time that each process has used since the begin of the
// measurement, in milliseconds per event.
func (c *cpuCost) addPerEvent(n int, into figures) error {
	for name, read := range c.meters {
		used, err := read()
		if err != nil {
			return err
		}
		into[name] = float64((used - c.before[name]).Microseconds()) / 1000 / float64(n)
	}
	return nil
}

// costs measures what the events of a pipeline cost Temporal, ingest and worker.
type costs struct {
	pipeline *pipeline
	cpu      *cpuCost
	writes   devstack.Writes // the database's, at the begin
}

// startCosts begins a measurement.
func (f *pipeline) startCosts(ctx context.Context) (*costs, error) {
	c := &costs{pipeline: f}
	var err error
	if f.setup.history {
		if c.writes, err = f.lab.writes(ctx); err != nil {
			return nil, err
		}
	}
	c.cpu, err = startCPUCost(map[string]meter{cpuServer: f.lab.temporal.CPU, cpuWorker: f.worker.CPU, cpuIngest: f.ingestCPU})
	return c, err
}

// addPerEvent adds the costs per event since the begin of the measurement.
func (c *costs) addPerEvent(ctx context.Context, events []contactcentre.Event, into figures) error {
	if err := c.cpu.addPerEvent(len(events), into); err != nil || !c.pipeline.setup.history {
		return err
	}
	after, err := c.pipeline.lab.writes(ctx)
	if err != nil {
		return err
	}
	if n := float64(len(events)); after != (devstack.Writes{}) {
		into[dbTransactions] = float64(after.Transactions-c.writes.Transactions) / n
		into[dbRows] = float64(after.Rows()-c.writes.Rows()) / n
	}
	return c.pipeline.lab.addHistories(ctx, events, into)
}

// ingestCPU returns the processor time of all ingest processes. It is 0 before they
// are started.
func (f *pipeline) ingestCPU() (time.Duration, error) {
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

// writeCounter is a backend that counts its writes to the database.
type writeCounter interface {
	Writes(ctx context.Context) (devstack.Writes, error)
}

// writes returns the number of the backend's writes so far, or zero values if the
// backend does not count them. It waits until the count contains every write.
func (l *lab) writes(ctx context.Context) (devstack.Writes, error) {
	counter, ok := l.temporal.(writeCounter)
	if !ok {
		return devstack.Writes{}, nil
	}
	select {
	case <-time.After(devstack.WritesReportedAfter):
	case <-ctx.Done():
		return devstack.Writes{}, ctx.Err()
	}
	return counter.Writes(ctx)
}

// sampledRuns is the number of runs whose histories are read, as a sample of the case.
const sampledRuns = 20

// addHistories adds the length and the size of a run's history, averaged over a sample
// that is spread evenly over the events.
func (l *lab) addHistories(ctx context.Context, events []contactcentre.Event, into figures) error {
	c, err := l.temporal.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	n := min(sampledRuns, len(events))
	for i := range n {
		e := events[i*len(events)/n]
		described, err := c.DescribeWorkflowExecution(ctx, fanout.WorkflowID(e.ID), "")
		if err != nil {
			return err
		}
		info := described.GetWorkflowExecutionInfo()
		into[histLen] += float64(info.GetHistoryLength()) / float64(n)
		into[histBytes] += float64(info.GetHistorySizeBytes()) / float64(n)
	}
	return nil
}
