package replay

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"

	"genesys-fanout/fanout"
)

// errOpenRun says that a run of the event is open.
var errOpenRun = errors.New("has an open run")

// start starts the run of an event. It waits for a Temporal that is away or busy
// until ctx ends. If there will be no run, the error is errOpenRun or a
// *fanout.ContentError.
func (r *Replay) start(ctx context.Context, in fanout.Input) (*run, error) {
	trackers, err := r.trackers(ctx, in)
	if err != nil {
		return nil, err
	}
	away := waiter{outage: &r.temporal}
	defer away.answered()
	for ctx.Err() == nil {
		// It outlives ctx, because a start that is broken off may have happened.
		started, err := fanout.Start(context.WithoutCancel(ctx), r.options.Client, fanout.ReplayOptions(in, r.options.TaskQueue, trackers), in)
		var open *serviceerror.WorkflowExecutionAlreadyStarted
		var content *fanout.ContentError
		switch {
		case err == nil:
			return newRun(started.GetID(), started.GetRunID()), nil
		case errors.As(err, &open) && away.waiting:
			// It may well be ours, because a start may succeed and its answer be lost.
			// The records show what becomes of it, whoever started it.
			return newRun(fanout.WorkflowID(in.Event.ID), open.RunId), nil
		case errors.As(err, &open):
			return nil, errOpenRun
		case errors.As(err, &content) && in.SearchAttributes && !content.TooLarge:
			in.SearchAttributes = false // which a frontend may not know
			continue
		case errors.As(err, &content):
			return nil, err
		}
		away.failed("to take runs", err)
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}
