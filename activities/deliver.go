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
	"genesys-fanout/target"
)

const (
	// permitWait is how long Deliver waits for one of a target's requests in flight to end
	// before it returns its task to Temporal.
	permitWait = 5 * time.Second

	// Overhead is the time that Deliver may take in addition to the target's timeout: the wait
	// for a permit, the heartbeats, and 5 s to read the message from Temporal. If a worker got
	// a task just as it stopped, Temporal hands the task out again after the timeout and this.
	Overhead = permitWait + beginTimeout + answerTimeout + 5*time.Second
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
	return a.requests.first(ctx, runID(ctx), t.Name(), func() (fanout.Outcome, bool) {
		outcome, sent := a.attemptInFastLane(ctx, t, d)
		if outcome.Verdict != fanout.Delivered {
			outcome.TargetState = a.admissions.of(t).targetState()
		}
		return outcome, sent
	})
}

// Recall returns the outcome of a request that this process may have begun. A run calls it if
// Temporal lost the answer: to a first attempt, because the workflow task was lost, or to a
// request of the retry lane, because another process has the next task. Recall sends nothing. If
// it returns that a request was not sent, this process will not send it later either.
func (a *Activities) Recall(ctx context.Context, in fanout.RecallInput) (fanout.RecallResult, error) {
	if in.Number == 0 {
		a.requests.deny(runID(ctx), in.Target)
	}
	outcome, sent, err := a.requests.outcome(ctx, requestKey{runID(ctx), in.Target, in.Number})
	if errors.Is(err, errForgotten) { // another try would find nothing either
		err = temporal.NewNonRetryableApplicationError(err.Error(), fanout.FailureUnknown, err)
	}
	return fanout.RecallResult{Sent: sent, Outcome: outcome}, err
}

// Deliver is one task of the retry lane. It sends at most one request. If the event was not
// delivered, it fails with an ApplicationError whose details are the Progress. Temporal retries
// the types FailureRetry (an attempt was spent) and FailureHeld (none was) after
// NextRetryDelay. FailureUnknown means that another process knows the outcome of the last
// attempt. If the type is an event.Reason, the delivery is given up.
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
	if d.Progress.Delivered() {
		return fanout.Outcome{Verdict: fanout.Delivered, Progress: d.Progress}, nil
	}
	if d.Progress.InFlight != (fanout.Request{}) {
		last, err := a.outcomeOfLast(ctx, &task)
		if err != nil {
			return fanout.Outcome{}, err
		}
		if failure := task.failure(last); failure == nil || fanout.IsFinal(failure) {
			return last, failure
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
	if task.Progress.Attempts >= task.Policy.MaxAttempts { // the process of the last attempt was lost
		return fanout.Outcome{}, fanout.GivenUp(event.ReasonExhausted, task.Progress, "")
	}
	return a.deliverNow(ctx, t, task)
}

// outcomeOfLast returns the outcome of the request that the ledger has in flight. If it was not
// sent, or if this process has forgotten it, that is an outcome of verdict Held without it. If
// another process began it, the error is FailureUnknown.
func (a *Activities) outcomeOfLast(ctx context.Context, task *retryTask) (fanout.Outcome, error) {
	last := task.Progress.InFlight
	if last.Process != a.requests.process {
		return fanout.Outcome{}, fanout.Unknown(task.Progress)
	}
	outcome, sent, err := a.requests.outcome(ctx, requestKey{runID(ctx), task.Policy.Target, last.Number})
	switch {
	case errors.Is(err, errForgotten):
		return fanout.Outcome{Verdict: fanout.Held, Progress: task.Progress.Lost()}, nil
	case err == nil && !sent:
		return fanout.Outcome{Verdict: fanout.Held, Progress: task.Progress.Unsent()}, nil
	}
	return outcome, err
}

// deliverNow completes the message, makes the attempt and reports its outcome.
func (a *Activities) deliverNow(ctx context.Context, t *target.Target, task retryTask) (fanout.Outcome, error) {
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
	failure := task.failure(outcome)
	if failure != nil && !fanout.IsFinal(failure) {
		a.recordAnswer(ctx, outcome.Progress)
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

// attemptInRetryLane makes an attempt as soon as a permit is free. If it fails, no request was
// sent.
func (a *Activities) attemptInRetryLane(ctx context.Context, t *target.Target, task retryTask) (fanout.Outcome, error) {
	permit, denied := waitForPermit(ctx, a.admissions.of(t))
	if denied != nil {
		a.metrics.countOutcome(t, RetryLane, fanout.Held)
		return fanout.Outcome{}, task.heldFailure(denied.reason, max(denied.wait, time.Second))
	}
	defer permit.release()
	name, request := a.requests.begin(runID(ctx), t.Name())
	defer request.finish()
	if err := a.recordBegin(ctx, task, name); err != nil {
		a.metrics.countOutcome(t, RetryLane, fanout.Held)
		return fanout.Outcome{}, err
	}
	outcome := a.attempt(ctx, t, permit, task.DeliverInput)
	request.answer(outcome)
	return outcome, nil
}

const (
	// beginTimeout is how long Temporal may take to acknowledge that an attempt begins. Longer
	// than that, the task is held back. Temporal was seen to take 5 s for a heartbeat under
	// load.
	beginTimeout = 7 * time.Second

	// answerTimeout bounds the heartbeat after an attempt. If it fails, the next task asks this
	// process.
	answerTimeout = 2 * time.Second
)

// Heartbeats records the heartbeat details of an activity, and returns once Temporal has
// acknowledged them. A client.Client implements it.
type Heartbeats interface {
	RecordActivityHeartbeat(ctx context.Context, taskToken []byte, details ...any) error
}

// recordBegin writes into the ledger that this process begins the next attempt with a request. If
// it fails, the request must not be sent, and no attempt is spent: Temporal may have written what
// it did not acknowledge, and then the next task finds out that the request was not sent.
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
	a.recordAnswer(ctx, task.Progress) // so that nobody has to ask
	switch {
	case temporal.IsCanceledError(err), temporal.IsCanceledError(context.Cause(ctx)):
		return temporal.NewCanceledError(task.Progress)
	case errors.Is(err, activity.ErrActivityPaused), errors.Is(err, activity.ErrActivityReset):
		return task.heldFailure("an operator paused or reset the activity", time.Second)
	case err == nil:
		return task.heldFailure("the worker stops", time.Second)
	}
	return task.heldFailure("Temporal did not acknowledge that the attempt begins: "+err.Error(), time.Second)
}

// recordAnswer writes the ledger without a request in flight. It may fail, because the next task
// then asks this process.
func (a *Activities) recordAnswer(ctx context.Context, progress fanout.Progress) {
	token := activity.GetInfo(ctx).TaskToken
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err := a.heartbeats.RecordActivityHeartbeat(ctx, token, progress); err != nil {
		a.log.Debug("the outcome of an attempt was not recorded as a heartbeat", "error", err)
	}
}

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
