package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const (
	// slotWait is how long Deliver waits for one of a target's requests in
	// flight to end before it goes back to Temporal's queue.
	slotWait = 5 * time.Second

	// Overhead is what Deliver may take beyond the target's timeout: the wait
	// for a slot, the heartbeats and the message's way from Temporal. A task that
	// went to a worker just as it stopped comes again after this and the timeout.
	Overhead = slotWait + 10*time.Second
)

// FirstAttempt is the fast lane: at most one request, made within the run's first
// workflow task. It never waits for a permit, and it never fails: the Outcome holds
// what went wrong.
func (a *Activities) FirstAttempt(ctx context.Context, d fanout.DeliverInput) (fanout.FirstAttemptResult, error) {
	outcome, err := a.firstAttempt(ctx, d)
	return fanout.FirstAttemptResult{Outcome: outcome}, err
}

func (a *Activities) firstAttempt(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok || t.State != target.Active || !t.Policy.FastLane {
		return fanout.Outcome{Verdict: fanout.Held, Progress: d.Progress}, nil
	}
	key := recentKey{runID(ctx), d.Policy.Target, FastLane}
	return a.recent.once(ctx, key, func() (fanout.Outcome, error) {
		hold := a.holds.of(t)
		permit, refusal := hold.enter(FastLane)
		if refusal != nil {
			a.metrics.delivery(t, FastLane, fanout.Held)
			return fanout.Outcome{Verdict: fanout.Held, Progress: d.Progress, TargetState: hold.sighting()}, nil
		}
		outcome := a.attempt(ctx, t, hold, permit, d)
		if outcome.Verdict != fanout.Delivered {
			outcome.TargetState = hold.sighting()
		}
		return outcome, nil
	}, func(o fanout.Outcome, _ error) bool { return o.Verdict != fanout.Held })
}

// Recall returns the outcome of a first attempt that this process may have made. It
// is asked when the workflow task of that attempt was lost and another process has
// the next one. It sends nothing. If this process made no attempt, it answers Held,
// and will make none for this run later either.
func (a *Activities) Recall(ctx context.Context, in fanout.RecallInput) (fanout.RecallResult, error) {
	outcome, err := a.recent.once(ctx, recentKey{runID(ctx), in.Target, FastLane},
		func() (fanout.Outcome, error) { return fanout.Outcome{Verdict: fanout.Held}, nil },
		func(fanout.Outcome, error) bool { return true })
	return fanout.RecallResult{Outcome: outcome}, err
}

// Deliver is one task of the retry lane: at most one request. It fails with an
// ApplicationError. Temporal retries the types FailureRetry (an attempt was spent) and
// FailureHeld (none was) after NextRetryDelay. An event.Reason as type ends the
// delivery, and the details are its Progress.
func (a *Activities) Deliver(ctx context.Context, d fanout.DeliverInput) (fanout.DeliverResult, error) {
	outcome, err := a.deliverTask(ctx, d)
	return fanout.DeliverResult{Outcome: outcome}, err
}

func (a *Activities) deliverTask(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &d.Progress); err != nil {
			return fanout.Outcome{}, fmt.Errorf("read the progress of the delivery: %w", err)
		}
	}
	task := dispatch{DeliverInput: d, expires: expiry(ctx)}
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok { // its queue is polled by processes that know it, so only in a changing fleet
		return fanout.Outcome{}, task.held("this worker does not know the target", time.Minute)
	}
	if t.State == target.Retired {
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonRetired, d.Progress, "the target was retired")
	}
	a.holds.of(t).learn(d.TargetState, time.Duration(d.Policy.MaxRetryAfter))
	if wait := time.Until(d.NotBefore); wait > 0 {
		return fanout.Outcome{}, task.held("backing off", wait)
	}
	key := recentKey{runID(ctx), d.Policy.Target, RetryLane}
	outcome, err := a.recent.once(ctx, key,
		func() (fanout.Outcome, error) { return a.deliver(ctx, t, task) },
		func(_ fanout.Outcome, err error) bool { return err == nil || fanout.IsGivenUp(err) })
	return outcome, err
}

func (a *Activities) deliver(ctx context.Context, t *target.Target, d dispatch) (fanout.Outcome, error) {
	if d.Progress.Attempts >= d.Policy.MaxAttempts { // the worker that made the last one did not live to report it
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonExhausted, d.Progress, "the last attempt was cut off")
	}
	info := activity.GetInfo(ctx)
	message, err := a.messages.complete(ctx, d.Message, info.WorkflowExecution.ID, info.WorkflowExecution.RunID)
	if err == nil && len(message.Body) == 0 {
		err = errNoMessage
	}
	if err != nil {
		return fanout.Outcome{}, err
	}
	d.Event, d.Body = message.Event, message.Body
	hold := a.holds.of(t)
	permit, refusal := enterWithin(ctx, hold)
	if refusal != nil {
		a.metrics.delivery(t, RetryLane, fanout.Held)
		return fanout.Outcome{}, d.held(refusal.reason, max(refusal.wait, time.Second))
	}
	if !permit.probe { // a failed probe spends no attempt
		begun := d.Progress
		begun.Attempts++
		activity.RecordHeartbeat(ctx, begun)
	}
	if ctx.Err() != nil { // the heartbeat brought it
		hold.leave(permit, nil)
		return fanout.Outcome{}, unsent(ctx, d.Progress)
	}
	outcome := a.attempt(ctx, t, hold, permit, d.DeliverInput)
	activity.RecordHeartbeat(ctx, outcome.Progress)
	return outcome, d.failure(outcome)
}

// unsent ends an activity whose context is done. If the run was canceled, the error
// carries the progress, because the heartbeat before has counted a request that was
// not sent.
func unsent(ctx context.Context, progress fanout.Progress) error {
	if temporal.IsCanceledError(context.Cause(ctx)) {
		return temporal.NewCanceledError(progress)
	}
	return ctx.Err()
}

// enterWithin asks for a permit, and waits a while for one if the target has only
// too many requests in flight.
func enterWithin(ctx context.Context, h *hold) (permit, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	go func() { // a worker that stops should not keep tasks waiting for a slot
		select {
		case <-activity.GetWorkerStopChannel(ctx):
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		changed := h.changes()
		p, refusal := h.enter(RetryLane)
		if refusal == nil || refusal.wait > 0 || await(ctx, 0, changed) != nil {
			return p, refusal
		}
	}
}

// attempt sends one request under a permit and decides what it means.
func (a *Activities) attempt(ctx context.Context, t *target.Target, hold *hold, p permit, d fanout.DeliverInput) fanout.Outcome {
	started := time.Now()
	got := a.send(ctx, t, d, d.Progress.Attempts+1, time.Duration(d.Policy.Timeout))
	decision := classify(got.status, got.header, got.err, t.RetryStatuses, time.Duration(d.Policy.MaxRetryAfter), time.Now())
	if got.err != nil && ctx.Err() != nil { // our own end, not the target's fault
		hold.leave(p, nil)
	} else {
		hold.leave(p, &decision)
	}

	outcome := fanout.Outcome{Verdict: decision.verdict, Progress: fanout.Progress{Attempts: d.Progress.Attempts + 1, StatusCode: got.status}}
	if decision.verdict != fanout.Delivered {
		outcome.Progress.Error = got.failure(t)
	}
	switch {
	case p.probe && decision.unavailable:
		outcome.Verdict = fanout.Held
		outcome.Progress.Attempts--
		outcome.NotBefore = time.Now().Add(decision.retryAfter).UTC()
	case decision.verdict == fanout.Retry:
		outcome.Wait = backoff(d, outcome.Progress.Attempts, decision.retryAfter)
		outcome.NotBefore = time.Now().Add(jittered(outcome.Wait)).UTC()
	}
	a.metrics.attempt(t, p.lane, outcome.Verdict, time.Since(started))
	return outcome
}

func runID(ctx context.Context) string { return activity.GetInfo(ctx).WorkflowExecution.RunID }
