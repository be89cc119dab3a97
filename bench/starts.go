package main

import (
	"context"
	"fmt"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/internal/await"
	"genesys-fanout/target"
	"genesys-fanout/workflows"
)

// bareStarts starts the inputs that ingest would from a client loop. Nobody
// polls the queue: only starts are measured.
func bareStarts(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.fanout(ctx, setup{targets: healthy(3)})
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
	err = loop(ctx, len(events), func(ctx context.Context, i int) error {
		e, err := event.Decode(events[i].Message)
		if err != nil {
			return err
		}
		in := workflows.Input{Event: e, Body: event.Body(events[i].Message), Targets: targets.Choose(e)}
		_, err = c.ExecuteWorkflow(ctx, workflows.StartOptions(in, f.name, ""), workflows.FanOutName, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	return figures{rate: float64(len(events)) / time.Since(began).Seconds()}, nil
}

// ingestStarts measures ingest alone: nobody polls the queue.
func ingestStarts(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.fanout(ctx, setup{targets: healthy(3), env: []string{"FANOUT_EAGER_START=false"}})
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

// startRate follows ingest's own counter from its first start to its n-th.
func (f *fanout) startRate(ctx context.Context, n int) (figures, error) {
	const often = 10 * time.Millisecond
	tick := time.NewTicker(often)
	defer tick.Stop()
	var began time.Time
	var before, seen float64
	moved := time.Now()
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
			seen, moved = started, time.Now()
		case time.Since(moved) >= await.Patience:
			return nil, fmt.Errorf("ingest stood still at %v of %d starts for %s", started, n, await.Patience)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
