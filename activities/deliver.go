package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/failpoint"
	"genesys-fanout/target"
)

const (
	// permitWait is how long Deliver waits for one of a target's requests in flight to end
	// before it returns its task to Temporal.
	permitWait = 5 * time.Second

	// DeliverOverhead is the time that Deliver may take in addition to the target's timeout: the
	// wait for a permit, the heartbeats, and 5 s to read the message from Temporal. If a worker
	// stops just after it polled a task, Temporal dispatches the task again after timeout +
	// DeliverOverhead.
	DeliverOverhead = permitWait + beginTimeout + answerTimeout + 5*time.Second
)

// FirstAttempt is the fast lane. It sends at most one request, within the run's first workflow
// task. It never waits for a permit. If the attempt failed, the Outcome has the error. FirstAttempt
// itself fails only if its context ends. The workflow then counts an attempt, because the request
// may have been sent.
func (a *Activities) FirstAttempt(ctx context.Context, d fanout.DeliverInput) (fanout.FirstAttemptResult, error) {
	outcome, err := a.firstAttempt(ctx, d)
	return fanout.FirstAttemptResult{Outcome: outcome}, err
}

func (a *Activities) firstAttempt(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok || t.State != target.Active || !t.Policy.FastLane {
		return fanout.Outcome{Verdict: fanout.Held, Progress: d.Progress}, nil
	}
	return a.requests.first(ctx, runOf(ctx).RunID, t.Name(), func() (fanout.Outcome, bool) {
		outcome, sent := a.attemptInFastLane(ctx, t, d)
		if outcome.Verdict != fanout.Delivered {
			outcome.TargetState = a.admissions.of(t).targetState()
		}
		return outcome, sent
	})
}

// Recall returns the outcome of a request that this process may have begun. A run calls it if
// Temporal never got the outcome: either the workflow task of a first attempt was lost, or another
// process polled the next task of Deliver. Recall sends nothing. If it returns that a request was
// not sent, this process will not send it later either. If this process has forgotten a request of
// the retry lane, Recall fails with FailureUnknown.
func (a *Activities) Recall(ctx context.Context, in fanout.RecallInput) (fanout.RecallResult, error) {
	key := retryKey(in.Number)
	if in.Number == 0 {
		key = firstKey(in.RunID, in.Target)
		a.requests.deny(in.RunID, in.Target)
	}
	outcome, sent, err := a.requests.outcome(ctx, key)
	if errors.Is(err, errForgotten) { // a retry would fail too
		err = temporal.NewNonRetryableApplicationError(err.Error(), fanout.FailureUnknown, err)
	}
	return fanout.RecallResult{Sent: sent, Outcome: outcome}, err
}

// Deliver is one task of the retry lane. It sends at most one request. If the event was not
// delivered, it fails with an ApplicationError whose details are the Progress. Temporal retries
// the types FailureRetry (an attempt was spent) and FailureHeld (none was) after
// NextRetryDelay. It does not retry FailureUnknown, which means that another process knows the
// outcome of the last attempt, and an event.Reason, which means that the delivery is given up.
func (a *Activities) Deliver(ctx context.Context, d fanout.DeliverInput) (fanout.DeliverResult, error) {
	outcome, err := a.deliver(ctx, d)
	return fanout.DeliverResult{Outcome: outcome}, err
}

// deliver makes an attempt if the delivery may make one now. First it finds out the outcome of an
// earlier attempt that was not recorded.
func (a *Activities) deliver(ctx context.Context, d fanout.DeliverInput) (fanout.Outcome, error) {
	if activity.HasHeartbeatDetails(ctx) {
		var recorded fanout.Progress // and not d.Progress, whose fields would stay where the JSON has none
		if err := activity.GetHeartbeatDetails(ctx, &recorded); err != nil {
			return fanout.Outcome{}, fmt.Errorf("read the progress of the delivery: %w", err)
		}
		d.Progress = recorded
	}
	task := retryTask{DeliverInput: d, expiresAt: expiry(ctx)}
	if d.Progress.Delivered() {
		return fanout.Outcome{Verdict: fanout.Delivered, Progress: d.Progress}, nil
	}
	if d.Progress.InFlight != (fanout.Request{}) {
		last, err := a.outcomeOfLast(ctx, &task)
		if err != nil {
			return fanout.Outcome{}, err
		}
		if last.Verdict == fanout.Delivered || last.Verdict == fanout.Rejected {
			return last, task.failure(last)
		}
		task.Progress, task.NotBefore = last.Progress, last.NotBefore
	}
	t, ok := a.targets.Get(d.Policy.Target)
	if !ok { // only while workers have different targets.yaml, because a worker polls the queues of its own targets
		return fanout.Outcome{}, task.heldFailure("this worker does not know the target", time.Minute)
	}
	if t.State == target.Retired {
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonRetired, task.Progress, "the target was retired")
	}
	a.admissions.of(t).applyTargetState(d.TargetState, time.Duration(d.Policy.MaxRetryAfter))
	if wait := time.Until(task.NotBefore); wait > 0 {
		return fanout.Outcome{}, task.heldFailure("backing off", wait)
	}
	if task.Progress.Attempts >= task.Policy.MaxAttempts { // the outcome of the last attempt was lost with its process
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonExhausted, task.Progress, "")
	}
	return a.deliverNow(ctx, t, task)
}

// outcomeOfLast returns the outcome of the request that the task's progress has in flight. If the
// request was not sent, or if this process has forgotten it, the verdict is Held, and the progress
// has no request in flight. If another process began the request, the error is FailureUnknown.
func (a *Activities) outcomeOfLast(ctx context.Context, task *retryTask) (fanout.Outcome, error) {
	last := task.Progress.InFlight
	if last.Process != a.requests.process {
		return fanout.Outcome{}, fanout.Unknown(task.Progress)
	}
	outcome, sent, err := a.requests.outcome(ctx, retryKey(last.Number))
	switch {
	case errors.Is(err, errForgotten):
		return fanout.Outcome{Verdict: fanout.Held, Progress: task.Progress.Lost()}, nil
	case err == nil && !sent:
		return fanout.Outcome{Verdict: fanout.Held, Progress: task.Progress.Unsent()}, nil
	}
	return outcome, err
}

// deliverNow completes the message, makes the attempt and records its outcome.
func (a *Activities) deliverNow(ctx context.Context, t *target.Target, task retryTask) (fanout.Outcome, error) {
	run := runOf(ctx)
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
	failure := task.failure(outcome)
	if failure != nil && !fanout.IsFinal(failure) {
		a.recordAnswer(ctx, outcome.Progress)
		failpoint.Reach(failpoint.AttemptWritten)
	}
	return outcome, failure
}

// attemptInFastLane makes an attempt if a permit is free. sent is false if none is.
func (a *Activities) attemptInFastLane(ctx context.Context, t *target.Target, d fanout.DeliverInput) (outcome fanout.Outcome, sent bool) {
	permit, denied := a.admissions.of(t).acquire(FastLane)
	if denied != nil {
		a.metrics.countOutcome(t, FastLane, fanout.Held)
		return fanout.Outcome{Verdict: fanout.Held, Progress: d.Progress}, false
	}
	defer permit.release()
	return a.attempt(ctx, t, permit, d), true
}

// attemptInRetryLane makes an attempt as soon as a permit is free. If it returns an error, no
// request was sent.
func (a *Activities) attemptInRetryLane(ctx context.Context, t *target.Target, task retryTask) (fanout.Outcome, error) {
	permit, denied := waitForPermit(ctx, a.admissions.of(t))
	if denied != nil {
		a.metrics.countOutcome(t, RetryLane, fanout.Held)
		return fanout.Outcome{}, task.heldFailure(denied.reason, max(denied.wait, time.Second))
	}
	defer permit.release()
	name, request := a.requests.begin()
	defer request.finish()
	if err := a.recordBegin(ctx, task, name); err != nil {
		a.metrics.countOutcome(t, RetryLane, fanout.Held)
		return fanout.Outcome{}, err
	}
	failpoint.Reach(failpoint.AttemptBegun)
	outcome := a.attempt(ctx, t, permit, task.DeliverInput)
	request.answer(outcome)
	return outcome, nil
}

const (
	// beginTimeout is how long Temporal may take to acknowledge the heartbeat before an attempt.
	// After that, the delivery is held back. Under load, 5 s were measured for a heartbeat.
	beginTimeout = 7 * time.Second

	// answerTimeout bounds the heartbeat after an attempt. If the heartbeat fails, the next task
	// gets the outcome from this process.
	answerTimeout = 2 * time.Second
)

// Heartbeats records the heartbeat details of an activity, and returns once Temporal has
// acknowledged them. A client.Client implements it.
type Heartbeats interface {
	RecordActivityHeartbeat(ctx context.Context, taskToken []byte, details ...any) error
}

// recordBegin records in the heartbeat details that this process begins the next attempt with the
// named request. If it fails, the request must not be sent, and no attempt is spent. Temporal may
// have recorded a heartbeat that it did not acknowledge. Then the next task finds out from this
// process that the request was not sent.
func (a *Activities) recordBegin(ctx context.Context, task retryTask, name fanout.Request) error {
	// The deadline of the task is left out, and the other one is twice as long, because the SDK ends a
	// call after half of the time until the deadline, and does not repeat it then.
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*beginTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	err := a.heartbeats.RecordActivityHeartbeat(recording, activity.GetInfo(ctx).TaskToken, task.Progress.Begin(name))
	if err == nil && ctx.Err() == nil && !workerStops(ctx) {
		return nil
	}
	a.recordAnswer(ctx, task.Progress) // so that the next task does not have to find out
	switch {
	case temporal.IsCanceledError(err), temporal.IsCanceledError(context.Cause(ctx)):
		return temporal.NewCanceledError(task.Progress)
	case errors.Is(err, activity.ErrActivityPaused), errors.Is(err, activity.ErrActivityReset):
		return task.heldFailure("an operator paused or reset the activity", time.Second)
	case err == nil:
		return task.heldFailure("the worker is stopping", time.Second)
	}
	return task.heldFailure("Temporal did not acknowledge that the attempt begins: "+err.Error(), time.Second)
}

// recordAnswer records the progress after an attempt, without a request in flight. If that fails,
// the next task gets the outcome from this process.
func (a *Activities) recordAnswer(ctx context.Context, progress fanout.Progress) {
	token := activity.GetInfo(ctx).TaskToken
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err := a.heartbeats.RecordActivityHeartbeat(ctx, token, progress); err != nil {
		a.log.Debug("the outcome of an attempt was not recorded as a heartbeat", "error", err)
	}
}

// workerStops reports whether the worker of this activity has begun to stop.
func workerStops(ctx context.Context) bool {
	select {
	case <-activity.GetWorkerStopChannel(ctx):
		return true
	default:
		return false
	}
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

// attempt sends one request and classifies the answer. The caller has acquired the permit, and
// releases it.
func (a *Activities) attempt(ctx context.Context, t *target.Target, permit *permit, d fanout.DeliverInput) fanout.Outcome {
	started := time.Now()
	response := a.send(ctx, t, d, d.Progress.Attempts+1, time.Duration(d.Policy.Timeout))
	failpoint.Reach(failpoint.AttemptAnswered)
	decision := classify(response.status, response.header, response.err, t.RetryStatuses, time.Duration(d.Policy.MaxRetryAfter), time.Now())
	if response.err == nil || ctx.Err() == nil { // otherwise this process canceled the request, so the error is not evidence about the target
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
