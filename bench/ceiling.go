package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"genesys-fanout/internal/await"
)

// bareLoopStarts is how many starts a bare client loop has in flight. On two cores with
// the dev server, 16 gave more starts per second than 64.
const bareLoopStarts = 16

// bareLoop calls start for 0 to n-1, bareLoopStarts calls at a time. It stops at the
// first error.
func bareLoop(ctx context.Context, n int, start func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range bareLoopStarts {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := start(ctx, i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// ceiling measures the highest rate that one workflow per event can reach: the workflow
// does nothing, and the answer to its start contains its only task.
func ceiling(ctx context.Context, l *lab, _ int) (figures, error) {
	c, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	queue := l.uniqueName("ceiling")
	ended := newCountdown(l.events)
	w := worker.New(c, queue, worker.Options{LocalActivityWorkerOnly: true})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ string) error {
		if !workflow.IsReplaying(ctx) {
			ended.countDown()
		}
		return nil
	}, workflow.RegisterOptions{Name: "Empty"})
	if err := w.Start(); err != nil {
		return nil, err
	}
	defer w.Stop()
	used, err := startCPUCost(map[string]meter{cpuServer: l.temporal.CPU})
	if err != nil {
		return nil, err
	}
	input := strings.Repeat("x", kilobyte)
	began := time.Now()
	err = bareLoop(ctx, l.events, func(ctx context.Context, i int) error {
		options := client.StartWorkflowOptions{ID: fmt.Sprintf("%s-%d", queue, i), TaskQueue: queue, EnableEagerStart: true}
		_, err := c.ExecuteWorkflow(ctx, options, "Empty", input)
		return err
	})
	if err != nil {
		return nil, err
	}
	last, err := ended.wait(ctx)
	if err != nil {
		return nil, err
	}
	got := figures{rate: float64(l.events) / last.Sub(began).Seconds()}
	return got, used.addPerEvent(l.events, got)
}

// countdown lets a goroutine wait until something has happened n times.
type countdown struct {
	mu   sync.Mutex
	left int
	last time.Time // the time of the latest countDown
}

func newCountdown(n int) *countdown { return &countdown{left: n} }

func (c *countdown) countDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	c.last = time.Now()
}

// wait waits for the nth countDown and returns its time.
func (c *countdown) wait(ctx context.Context) (last time.Time, err error) {
	err = await.Until(ctx, "the end of all runs", func() (any, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		last = c.last
		return fmt.Sprintf("%d left", c.left), c.left <= 0
	})
	return last, err
}
