package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/workflows"
)

const (
	// startLimit is the largest input that is sent to Temporal, in bytes: its own
	// limit for one payload is 2 MiB, less room for what stands around it.
	startLimit = 19 << 20 / 10

	// startTimeout is for one start; the SDK repeats what may pass within it.
	startTimeout = 10 * time.Second

	retryInterval  = time.Second      // while Temporal takes nothing
	remindInterval = 30 * time.Second // between two lines about that
)

// errOpenRun says that a run of the event is open.
var errOpenRun = errors.New("has an open run")

// contentError says that Temporal does not take an input for what it holds.
type contentError struct{ err error }

func (e *contentError) Error() string { return "Temporal does not take it: " + e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// start starts the run. A Temporal that is away or busy is waited for until ctx
// ends; errOpenRun and *contentError say that there will be no run.
func (r *Replay) start(ctx context.Context, in workflows.Input) (client.WorkflowRun, error) {
	waiting := false
	defer func() {
		if waiting {
			r.outage.over()
		}
	}()
	for ctx.Err() == nil {
		run, err := r.startOnce(ctx, in)
		var open *serviceerror.WorkflowExecutionAlreadyStarted
		switch {
		case err == nil:
			return run, nil
		case errors.As(err, &open) && waiting:
			// It may well be ours: a start may succeed and its answer be lost. The
			// records tell what becomes of it, whoever started it.
			return r.options.Client.GetWorkflow(ctx, workflows.ID(in.Event.ID), open.RunId), nil
		case errors.As(err, &open):
			return nil, errOpenRun
		case isContent(err) && in.SearchAttributes && !errors.As(err, new(*contentError)):
			in.SearchAttributes = false // which a frontend may not know
			continue
		case isContent(err):
			return nil, &contentError{err}
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

// startOnce outlives ctx: a start that is broken off may have happened.
func (r *Replay) startOnce(ctx context.Context, in workflows.Input) (client.WorkflowRun, error) {
	payload, err := workflows.DataConverter().ToPayload(in)
	if err != nil {
		return nil, &contentError{err}
	}
	if size := len(payload.GetData()); size > startLimit {
		return nil, &contentError{fmt.Errorf("the run's input takes %d bytes, the limit is %d", size, startLimit)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	return r.options.Client.ExecuteWorkflow(ctx, workflows.ReplayOptions(in, r.options.TaskQueue), workflows.FanOutName, converter.NewRawValue(payload))
}

// isContent is true where the same start would be refused for ever. gRPC's own
// limit on a message shares its code with a busy server; only its text tells.
func isContent(err error) bool {
	var invalid *serviceerror.InvalidArgument
	var content *contentError
	var exhausted *serviceerror.ResourceExhausted
	return errors.As(err, &invalid) || errors.As(err, &content) || errors.As(err, &exhausted) &&
		exhausted.Cause == enums.RESOURCE_EXHAUSTED_CAUSE_UNSPECIFIED && strings.Contains(exhausted.Message, "larger than max")
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
