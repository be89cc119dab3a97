package activities

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/fanout"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

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

	// jitter spreads retries of one outage, upward only: a Retry-After is a floor.
	jitter = 0.1
)

// FirstAttempt is the fast lane: one request within the run's first workflow task, if
// the target may get one now; it never waits. It never fails either: the Outcome says
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

// Recall returns the outcome of a first attempt that this process may have made. A run
// asks it if the workflow task of the first attempt is lost and another process has
// the next one. Recall sends nothing. If this process has made no first attempt, the
// verdict is Held, and it makes none for this run later either.
func (a *Activities) Recall(ctx context.Context, in fanout.RecallInput) (fanout.RecallResult, error) {
	outcome, err := a.recent.once(ctx, recentKey{runID(ctx), in.Target, FastLane},
		func() (fanout.Outcome, error) { return fanout.Outcome{Verdict: fanout.Held}, nil },
		func(fanout.Outcome, error) bool { return true })
	return fanout.RecallResult{Outcome: outcome}, err
}

// Deliver is one dispatch of the retry lane: at most one request. It fails with an
// ApplicationError. Its type is FailureRetry (an attempt was spent) or FailureHeld
// (none was), which Temporal retries after NextRetryDelay, or an event.Reason, which
// ends the delivery, with its Progress as details.
func (a *Activities) Deliver(ctx context.Context, d fanout.DeliverInput) (fanout.DeliverResult, error) {
	outcome, err := a.dispatch(ctx, d)
	return fanout.DeliverResult{Outcome: outcome}, err
}

func (a *Activities) dispatch(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &d.Progress); err != nil {
			return fanout.Outcome{}, fmt.Errorf("read the progress of the delivery: %w", err)
		}
	}
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok { // its queue is polled by processes that know it, so only in a changing fleet
		return fanout.Outcome{}, held(d, "this worker does not know the target", time.Minute)
	}
	if t.State == target.Retired {
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonRetired, d.Progress, "the target was retired")
	}
	a.holds.of(t).learn(d.TargetState, time.Duration(d.Policy.MaxRetryAfter))
	if wait := time.Until(d.NotBefore); wait > 0 {
		return fanout.Outcome{}, held(d, "backing off", wait)
	}
	key := recentKey{runID(ctx), d.Policy.Target, RetryLane}
	outcome, err := a.recent.once(ctx, key,
		func() (fanout.Outcome, error) { return a.deliver(ctx, t, d) },
		func(_ fanout.Outcome, err error) bool { return err == nil || fanout.IsGivenUp(err) })
	return outcome, err
}

func (a *Activities) deliver(ctx context.Context, t *target.Target, d fanout.DeliverInput) (fanout.Outcome, error) {
	if d.Progress.Attempts >= d.Policy.MaxAttempts { // the worker that made the last one did not live to tell
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
		return fanout.Outcome{}, held(d, refusal.reason, max(refusal.wait, time.Second))
	}
	if !permit.probe { // a failed probe spends no attempt
		begun := d.Progress
		begun.Attempts++
		activity.RecordHeartbeat(ctx, begun)
	}
	if ctx.Err() != nil { // what the heartbeat brought
		hold.leave(permit, nil)
		return fanout.Outcome{}, unsent(ctx, d.Progress)
	}
	outcome := a.attempt(ctx, t, hold, permit, d)
	activity.RecordHeartbeat(ctx, outcome.Progress)
	return outcome, failureOf(outcome, d)
}

// unsent ends an activity whose context is done. The run's cancellation is told
// with the progress, since the heartbeat before has counted a request that was
// not sent.
func unsent(ctx context.Context, progress fanout.Progress) error {
	if temporal.IsCanceledError(context.Cause(ctx)) {
		return temporal.NewCanceledError(progress)
	}
	return ctx.Err()
}

// enterWithin waits a while where only the requests in flight are in the way.
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
	if got.err != nil && ctx.Err() != nil { // our own end, not the target's fault
		hold.leave(p, nil)
	}
	decision := classify(got.status, got.header, got.err, t.RetryStatuses, time.Duration(d.Policy.MaxRetryAfter), time.Now())
	if got.err == nil || ctx.Err() == nil {
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
		outcome.NotBefore = time.Now().Add(nextDelay(d, outcome.Progress.Attempts, decision.retryAfter)).UTC()
	}
	a.metrics.attempt(t, p.lane, outcome.Verdict, time.Since(started))
	return outcome
}

// nextDelay is the wait before the attempt that follows the n-th.
func nextDelay(d fanout.DeliverInput, n int, retryAfter time.Duration) time.Duration {
	delay := max(d.Policy.Backoff.After(n), retryAfter)
	return delay + time.Duration(rand.Float64()*jitter*float64(delay))
}

// failureOf returns the error with which Deliver reports the outcome to Temporal, and
// nil if the event was delivered.
func failureOf(o fanout.Outcome, d fanout.DeliverInput) error {
	switch {
	case o.Verdict == fanout.Delivered:
		return nil
	case o.Verdict == fanout.Rejected:
		return fanout.GivenUp(event.ReasonRejected, o.Progress, "")
	case o.Verdict == fanout.Held:
		d.Progress = o.Progress
		return held(d, "the target does not answer", max(firstProbe, time.Until(o.NotBefore)))
	case o.Progress.Attempts >= d.Policy.MaxAttempts:
		return fanout.GivenUp(event.ReasonExhausted, o.Progress, "")
	}
	return temporal.NewApplicationErrorWithOptions(
		fmt.Sprintf("%s, attempt %d of %d: %s", d.Policy.Target, o.Progress.Attempts, d.Policy.MaxAttempts, o.Progress.Error),
		fanout.FailureRetry, temporal.ApplicationErrorOptions{
			NextRetryDelay: max(time.Until(o.NotBefore), time.Millisecond),
			Details:        []any{o.Progress},
		})
}

// held sends a task back to Temporal without spending an attempt. The delivery's
// last real failure stays readable in it.
func held(d fanout.DeliverInput, why string, wait time.Duration) error {
	message := fmt.Sprintf("%s, held back: %s", d.Policy.Target, why)
	if d.Progress.Error != "" {
		message += fmt.Sprintf("; attempt %d of %d: %s", d.Progress.Attempts, d.Policy.MaxAttempts, d.Progress.Error)
	}
	return temporal.NewApplicationErrorWithOptions(message, fanout.FailureHeld, temporal.ApplicationErrorOptions{
		NextRetryDelay: wait + time.Duration(rand.Float64()*jitter*float64(wait)),
		Details:        []any{d.Progress},
		Category:       temporal.ApplicationErrorCategoryBenign,
	})
}

func runID(ctx context.Context) string { return activity.GetInfo(ctx).WorkflowExecution.RunID }
