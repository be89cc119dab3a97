package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"genesys-fanout/fanout"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

const (
	retryInterval  = time.Second      // while Temporal takes nothing
	remindInterval = 30 * time.Second // between two lines about that
)

// errOpenRun says that a run of the event is open.
var errOpenRun = errors.New("has an open run")

// start starts the run. A Temporal that is away or busy is waited for until ctx
// ends; errOpenRun and *workflows.ContentError say that there will be no run.
func (r *Replay) start(ctx context.Context, in fanout.Input) (client.WorkflowRun, error) {
	trackers, err := r.trackers(ctx, in)
	if err != nil {
		return nil, err
	}
	waiting := false
	defer func() {
		if waiting {
			r.outage.over()
		}
	}()
	for ctx.Err() == nil {
		// It outlives ctx: a start that is broken off may have happened.
		run, err := fanout.Start(context.WithoutCancel(ctx), r.options.Client, fanout.ReplayOptions(in, r.options.TaskQueue, trackers), in)
		var open *serviceerror.WorkflowExecutionAlreadyStarted
		var content *fanout.ContentError
		switch {
		case err == nil:
			return run, nil
		case errors.As(err, &open) && waiting:
			// It may well be ours: a start may succeed and its answer be lost. The
			// records tell what becomes of it, whoever started it.
			return r.options.Client.GetWorkflow(ctx, fanout.WorkflowID(in.Event.ID), open.RunId), nil
		case errors.As(err, &open):
			return nil, errOpenRun
		case errors.As(err, &content) && in.SearchAttributes && !content.TooLarge:
			in.SearchAttributes = false // which a frontend may not know
			continue
		case errors.As(err, &content):
			return nil, err
		}
		r.outage.goesOn("to take runs", err, !waiting)
		waiting = true
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// await waits until the run has ended, however long Temporal is away meanwhile.
func (r *Replay) await(ctx context.Context, run client.WorkflowRun) {
	waiting := false
	for {
		err := run.Get(ctx, nil)
		var ended *temporal.WorkflowExecutionError
		var gone *serviceerror.NotFound
		if err == nil || errors.As(err, &ended) || errors.As(err, &gone) {
			break
		}
		r.outage.goesOn("to tell how runs ended", err, !waiting)
		waiting = true
		time.Sleep(retryInterval)
	}
	if waiting {
		r.outage.over()
	}
}

// outage tells once for all that wait that Temporal does not answer.
type outage struct {
	notify func(line string)

	mu      sync.Mutex
	waiting int
	since   time.Time
	told    time.Time
}

// goesOn takes note of one that waits, for the first time or again.
func (o *outage) goesOn(what string, err error, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if first {
		if o.waiting == 0 {
			o.since, o.told = now, time.Time{}
		}
		o.waiting++
	}
	if now.Sub(o.told) >= remindInterval {
		o.told = now
		o.notify(fmt.Sprintf("waiting for Temporal %s, for %s: %v", what, now.Sub(o.since).Round(time.Second), err))
	}
}

// over takes note of one that waits no more.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting--; o.waiting == 0 {
		o.notify(fmt.Sprintf("Temporal answers again, after %s", time.Since(o.since).Round(time.Second)))
	}
}
