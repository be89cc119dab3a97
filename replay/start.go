package replay

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"

	"genesys-fanout/fanout"
)

// errOpenRun means that a run of the event is open.
var errOpenRun = errors.New("the event has an open run")

// start starts the run of an event. While Temporal does not answer or
// is busy, it waits until ctx ends.
// If no run can be started, the error is errOpenRun or a *fanout.ContentError.
func (r *Replay) start(ctx context.Context, in fanout.Input) (started *run, err error) {
	trackers, err := r.trackers(ctx, in)
	if err != nil {
		return nil, err
	}
	err = r.untilAnswered(ctx, func(repeated bool) (answered bool, err error) {
		started, answered, err = r.requestStart(ctx, &in, trackers, repeated)
		return answered, err
	})
	return started, err
}

// requestStart asks Temporal once for the run of an event. answered is false if Temporal
// does not answer or is busy. If a frontend rejects the search attributes, they are taken out of the input.
func (r *Replay) requestStart(ctx context.Context, in *fanout.Input, trackers map[string]string, repeated bool) (started *run, answered bool, err error) {
	// The request is not canceled with ctx, because Temporal may have started the run already.
	handle, err := fanout.Start(context.WithoutCancel(ctx), r.options.Client, fanout.ReplayOptions(*in, r.options.TaskQueue, trackers), *in)
	var open *serviceerror.WorkflowExecutionAlreadyStarted
	var content *fanout.ContentError
	switch {
	case err == nil:
		return newRun(handle.GetID(), handle.GetRunID()), true, nil
	case errors.As(err, &open) && repeated:
		// The open run is probably ours: an earlier request succeeded and its answer was
		// lost. Whoever started it, the records show the outcome of its deliveries.
		return newRun(fanout.WorkflowID(in.Event.ID), open.RunId), true, nil
	case errors.As(err, &open):
		return nil, true, errOpenRun
	case errors.As(err, &content) && in.SearchAttributes && !content.TooLarge:
		in.SearchAttributes = false
		return r.requestStart(ctx, in, trackers, repeated)
	case errors.As(err, &content):
		return nil, true, err
	}
	return nil, false, fmt.Errorf("start a run: %w", err)
}
