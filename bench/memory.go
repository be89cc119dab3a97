package main

import (
	"context"
	"time"
)

// memoryTime is the time for which ingest and worker process the backlog.
const memoryTime = 45 * time.Second

// memory measures the peak resident memory of ingest and worker while they process a
// backlog that they cannot finish within memoryTime.
func memory(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.pipeline(ctx, setup{targets: healthyTargets(3), discard: true})
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.publish(ctx, l.messages(backlog, kilobyte)); err != nil {
		return nil, err
	}
	if err := f.startWorker(ctx); err != nil {
		return nil, err
	}
	if err := f.startIngests(ctx); err != nil {
		return nil, err
	}
	select {
	case <-time.After(memoryTime):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ingest, err := f.ingests[0].RSS()
	if err != nil {
		return nil, err
	}
	worker, err := f.worker.RSS()
	if err != nil {
		return nil, err
	}
	const megabyte = 1 << 20
	return figures{memIngest: float64(ingest.Peak) / megabyte, memWorker: float64(worker.Peak) / megabyte}, nil
}
