package main

import (
	"context"
	"fmt"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/target"
)

// bareStarts measures the starts of a bare client loop, with the inputs that ingest would
// make. No worker polls the task queue, so only starts are measured.
func bareStarts(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.pipeline(ctx, setup{targets: healthyTargets(3)})
	if err != nil {
		return nil, err
	}
	defer f.close()
	targets, err := target.Load(f.path("targets.yaml"), nil)
	if err != nil {
		return nil, err
	}
	c, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	events := l.messages(l.events, kilobyte)
	began := time.Now()
	err = bareLoop(ctx, len(events), func(ctx context.Context, i int) error {
		e, err := event.Decode(events[i].Message)
		if err != nil {
			return err
		}
		in := fanout.Input{Message: event.Message{Event: e, Body: event.Body(events[i].Message)}, Targets: targets.Choose(e)}
		_, err = c.ExecuteWorkflow(ctx, fanout.StartOptions(in, f.name, false), fanout.WorkflowName, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	return figures{rate: float64(len(events)) / time.Since(began).Seconds()}, nil
}

// ingestStarts measures the starts of ingest. No worker polls the task queue.
func ingestStarts(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.pipeline(ctx, setup{targets: healthyTargets(3), env: []string{"FANOUT_EAGER_START=false"}})
	if err != nil {
		return nil, err
	}
	defer f.close()
	events := l.messages(l.events, kilobyte)
	if err := f.publish(ctx, events); err != nil {
		return nil, err
	}
	if err := f.startIngests(ctx); err != nil {
		return nil, err
	}
	return f.startRate(ctx, len(events))
}

// startRate measures the rate from ingest's first start to its nth, by ingest's own
// counter.
func (f *pipeline) startRate(ctx context.Context, n int) (figures, error) {
	const interval = 10 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var began time.Time
	var before, seen float64
	lastProgress := time.Now()
	for {
		started, err := f.ingests[0].Metric(ctx, `fanout_workflows_started_total{result="started"}`)
		switch {
		case err != nil:
			return nil, err
		case began.IsZero() && started > 0:
			began, before = time.Now(), started
		case int(started) >= n:
			return figures{rate: (started - before) / time.Since(began).Seconds()}, nil
		case started > seen:
			seen, lastProgress = started, time.Now()
		case time.Since(lastProgress) >= await.Patience:
			return nil, fmt.Errorf("ingest made no start for %s, after %v of %d starts", await.Patience, started, n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
