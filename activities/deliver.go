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
	// permitWait is how long Deliver waits for one of a target's requests in flight to end
	// before it returns its task to Temporal.
	permitWait = 5 * time.Second

	// Overhead is the time that Deliver may take in addition to the target's timeout: the wait
	// for a permit, the heartbeats, and reading the message from Temporal. If a worker got a
	// task just as it stopped, Temporal hands the task out again after the timeout and this.
	Overhead = permitWait + 10*time.Second
)

// FirstAttempt is the fast lane. It sends at most one request, within the run's first workflow
// task. It never waits for a permit. It never fails: if the attempt failed, the Outcome has the
// error.
func (a *Activities) FirstAttempt(ctx context.Context, d fanout.DeliverInput) (fanout.FirstAttemptResult, error) {
	outcome, err := a.firstAttempt(ctx, d)
	return fanout.FirstAttemptResult{Outcome: outcome}, err
}

func (a *Activities) firstAttempt(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok || t.State != target.Active || !t.Policy.FastLane {
		return fanout.Outcome{Verdict: fanout.Held, Progress: d.Progress}, nil
	}
	attempt := func() (fanout.Outcome, error) {
		outcome := a.attemptInFastLane(ctx, t, d)
		if outcome.Verdict != fanout.Delivered {
			outcome.TargetState = a.admissions.of(t).targetState()
		}
		return outcome, nil
	}
	keep := func(o fanout.Outcome, _ error) bool { return o.Verdict != fanout.Held }
	return a.recent.attemptOnce(ctx, attemptKey{runID(ctx), t.Name(), FastLane}, attempt, keep)
}

// Recall returns the outcome of a first attempt that this process may have made. A run calls it
// if the workflow task of that attempt was lost, and another process has the next task. Recall
// sends nothing. If this process made no attempt, Recall returns the verdict Held, and this
// process will not make one for this run later either.
func (a *Activities) Recall(ctx context.Context, in fanout.RecallInput) (fanout.RecallResult, error) {
	outcome, err := a.recent.attemptOnce(ctx, attemptKey{runID(ctx), in.Target, FastLane},
		func() (fanout.Outcome, error) { return fanout.Outcome{Verdict: fanout.Held}, nil },
		func(fanout.Outcome, error) bool { return true })
	return fanout.RecallResult{Outcome: outcome}, err
}

// Deliver is one task of the retry lane. It sends at most one request. If the event was not
// delivered, it fails with an ApplicationError whose details are the Progress. Temporal retries
// the types FailureRetry (an attempt was spent) and FailureHeld (none was) after
// NextRetryDelay. If the type is an event.Reason, the delivery is given up.
func (a *Activities) Deliver(ctx context.Context, d fanout.DeliverInput) (fanout.DeliverResult, error) {
	outcome, err := a.deliver(ctx, d)
	return fanout.DeliverResult{Outcome: outcome}, err
}

// deliver decides whether the delivery may make an attempt now.
func (a *Activities) deliver(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &d.Progress); err != nil {
			return fanout.Outcome{}, fmt.Errorf("read the progress of the delivery: %w", err)
		}
	}
	task := retryTask{DeliverInput: d, expiresAt: expiry(ctx)}
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok { // only while workers have different targets.yaml, because a worker polls the queues of its own targets
		return fanout.Outcome{}, task.heldFailure("this worker does not know the target", time.Minute)
	}
	if t.State == target.Retired {
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonRetired, d.Progress, "the target was retired")
	}
	a.admissions.of(t).applyTargetState(d.TargetState, time.Duration(d.Policy.MaxRetryAfter))
	if wait := time.Until(d.NotBefore); wait > 0 {
		return fanout.Outcome{}, task.heldFailure("backing off", wait)
	}
	return a.recent.attemptOnce(ctx, attemptKey{runID(ctx), t.Name(), RetryLane},
		func() (fanout.Outcome, error) { return a.deliverNow(ctx, t, task) },
		func(_ fanout.Outcome, err error) bool { return err == nil || fanout.IsGivenUp(err) })
}

// deliverNow completes the message, makes the attempt and reports its outcome.
func (a *Activities) deliverNow(ctx context.Context, t *target.Target, task retryTask) (fanout.Outcome, error) {
	if task.Progress.Attempts >= task.Policy.MaxAttempts { // the worker of the last attempt was lost before it reported the outcome
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonExhausted, task.Progress, "the last attempt was cut off")
	}
	run := activity.GetInfo(ctx).WorkflowExecution
	message, err := a.messages.complete(ctx, task.Message, run.ID, run.RunID)
	if err == nil && len(message.Body) == 0 {
		err = errNoMessage
	}
	if err != nil {
		return fanout.Outcome{}, err
	}
	task.Event, task.Body = message.Event, message.Body
	outcome, err := a.attemptInRetryLane(ctx, t, task)
	if err != nil {
		return fanout.Outcome{}, err
	}
	activity.RecordHeartbeat(ctx, outcome.Progress)
	return outcome, task.failure(outcome)
}

// attemptInFastLane makes an attempt if a permit is free.
func (a *Activities) attemptInFastLane(ctx context.Context, t *target.Target, d fanout.DeliverInput) fanout.Outcome {
	permit, denied := a.admissions.of(t).acquire(FastLane)
	if denied != nil {
		a.metrics.countOutcome(t, FastLane, fanout.Held)
		return fanout.Outcome{Verdict: fanout.Held, Progress: d.Progress}
	}
	defer permit.release()
	return a.attempt(ctx, t, permit, d)
}

// attemptInRetryLane makes an attempt as soon as a permit is free. If it fails, no request was
// sent.
func (a *Activities) attemptInRetryLane(ctx context.Context, t *target.Target, task retryTask) (fanout.Outcome, error) {
	permit, denied := waitForPermit(ctx, a.admissions.of(t))
	if denied != nil {
		a.metrics.countOutcome(t, RetryLane, fanout.Held)
		return fanout.Outcome{}, task.heldFailure(denied.reason, max(denied.wait, time.Second))
	}
	defer permit.release()
	if !permit.probe { // a failed probe spends no attempt
		begun := task.Progress
		begun.Attempts++
		activity.RecordHeartbeat(ctx, begun)
	}
	if ctx.Err() != nil { // the answer to the heartbeat may bring the run's cancellation
		return fanout.Outcome{}, errorBeforeRequest(ctx, task.Progress)
	}
	return a.attempt(ctx, t, permit, task.DeliverInput), nil
}

// errorBeforeRequest returns the error of an activity whose context ended before it sent its
// request. If the run was canceled, the error carries the progress, because the last heartbeat
// has already counted the request.
func errorBeforeRequest(ctx context.Context, progress fanout.Progress) error {
	if temporal.IsCanceledError(context.Cause(ctx)) {
		return temporal.NewCanceledError(progress)
	}
	return ctx.Err()
}

// waitForPermit acquires a permit of the retry lane. If only the limit on requests in flight
// denies it, waitForPermit waits up to permitWait for one of them to end.
func waitForPermit(ctx context.Context, a *admission) (*permit, *denial) {
	ctx, cancel := context.WithTimeout(ctx, permitWait)
	defer cancel()
	go func() { // a worker that stops should not wait for permits
		select {
		case <-activity.GetWorkerStopChannel(ctx):
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		changed := a.changes()
		p, denied := a.acquire(RetryLane)
		if denied == nil || denied.wait > 0 || wait(ctx, 0, changed) != nil {
			return p, denied
		}
	}
}

// attempt sends one request with a permit and decides what the answer means. The caller
// releases the permit.
func (a *Activities) attempt(ctx context.Context, t *target.Target, permit *permit, d fanout.DeliverInput) fanout.Outcome {
	started := time.Now()
	response := a.send(ctx, t, d, d.Progress.Attempts+1, time.Duration(d.Policy.Timeout))
	decision := classify(response.status, response.header, response.err, t.RetryStatuses, time.Duration(d.Policy.MaxRetryAfter), time.Now())
	if response.err == nil || ctx.Err() == nil { // otherwise this process ended the request, which says nothing about the target
		permit.decision = &decision
	}

	outcome := fanout.Outcome{Verdict: decision.verdict, Progress: fanout.Progress{Attempts: d.Progress.Attempts + 1, StatusCode: response.status}}
	if decision.verdict != fanout.Delivered {
		outcome.Progress.Error = response.describeFailure(t)
	}
	switch {
	case permit.probe && decision.unavailable:
		outcome.Verdict = fanout.Held
		outcome.Progress.Attempts--
		outcome.NotBefore = time.Now().Add(decision.retryAfter).UTC()
	case decision.verdict == fanout.Retry:
		outcome.Wait = backoff(d, outcome.Progress.Attempts, decision.retryAfter)
		outcome.NotBefore = time.Now().Add(withJitter(outcome.Wait)).UTC()
	}
	a.metrics.observeAttempt(t, permit.lane, outcome.Verdict, time.Since(started))
	return outcome
}

func runID(ctx context.Context) string { return activity.GetInfo(ctx).WorkflowExecution.RunID }
