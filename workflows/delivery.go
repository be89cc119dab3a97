package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const (
	// localSlack is how long a first attempt may take in addition to the target's timeout.
	localSlack = 5 * time.Second

	// recallTimeout is how long a Recall task may wait until the process that began the request
	// polls it. If the process does not poll the task in time, it counts as killed. It is twice
	// reconnectTime.
	recallTimeout = 2 * reconnectTime

	// reconnectTime is how long a process may take to poll again after Temporal has returned,
	// because gRPC waits up to 10 s before it connects again.
	reconnectTime = 10 * time.Second

	// timerSlack is how late Temporal may fire a timer while it is reachable.
	timerSlack = 2 * time.Second

	// recallSlack is the time that Recall may take beyond the target's timeout, in which the request that
	// it waits for ends. If it takes longer, the answer was lost, and the process is asked again.
	recallSlack = 5 * time.Second

	// fastLaneTimeout is the longest timeout of a target with a fast lane. If local activities
	// are still running after 8 s, the SDK completes the workflow task and asks for another
	// one. Then a lost task could not be distinguished from one that continues.
	fastLaneTimeout = 7 * time.Second

	// lastProgressTimeout bounds LastProgress, because the cancellation of the retry
	// lane waits until Temporal has answered it.
	lastProgressTimeout = 3 * time.Second
)

// delivery is one event on its way to one target.
type delivery struct {
	run    *run
	target string
	policy target.Policy
	inline event.Message // the part of the message that activity inputs carry

	location    fanout.RecordLocation // where the delivery's open record is
	progress    fanout.Progress
	notBefore   time.Time          // the earliest time of the next attempt
	targetState fanout.TargetState // the state of the target as the first attempt found it
	reason      event.Reason       // why the delivery was given up; empty if it was not
	damaged     string             // why the open record could not be resolved although the delivery succeeded
	state       fanout.State
}

// plan returns the deliveries of a run: one for each target. If the message cannot be
// fanned out, it returns a single delivery, which is recorded without an attempt.
func plan(in fanout.Input) []*delivery {
	if u := in.Undeliverable; u != nil {
		return []*delivery{{
			target: u.Target(), inline: inline(in, 1), state: fanout.StateWaiting,
			reason: u.Reason, progress: fanout.Progress{Error: fanout.Cut(u.Error, fanout.ErrorLimit)},
		}}
	}
	message := inline(in, len(in.Targets))
	var deliveries []*delivery
	planned := make(map[string]bool, len(in.Targets))
	for _, policy := range in.Targets {
		policy = policy.Normalized()
		// An input that was written by hand may name a target twice, but an ActivityID
		// must be unique.
		if planned[policy.Target] {
			continue
		}
		planned[policy.Target] = true
		deliveries = append(deliveries, &delivery{target: policy.Target, policy: policy, inline: message, state: fanout.StateWaiting})
	}
	return deliveries
}

// inline returns the part of the message that the activity inputs of that many targets
// may carry. The activities read the rest from the run's history.
func inline(in fanout.Input, targets int) event.Message {
	m := event.Message{Source: in.Source}
	room := fanout.InlineTotal / max(1, targets)
	if size := fanout.PayloadSize(in.Event); size <= room {
		m.Event, room = in.Event, room-size
	}
	// The length is compared first, because encoding a large body takes time.
	if len(in.Body) <= min(fanout.InlineBody, room) && fanout.PayloadSize(in.Body) <= room {
		m.Body = in.Body
	}
	return m
}

// deliverOrRecord delivers the event, or records a dead letter if the delivery is given up.
func (d *delivery) deliverOrRecord(ctx workflow.Context) {
	if d.reason == "" && !d.recallFirstAttempt(ctx) && !d.expire(ctx) && !d.tryFastLane(ctx) && !d.expire(ctx) {
		d.tryRetryLane(ctx)
	}
	if d.reason != "" {
		d.recordDeadLetter(ctx)
		d.setState(ctx, fanout.StateDeadLetter)
		return
	}
	d.resolveDeadLetter(ctx)
	d.setState(ctx, fanout.StateDelivered)
}

// expire gives the delivery up if max_age has passed since r.began. It reports whether the delivery
// has ended. max_age may have passed because no worker ran for that long, or because the first
// attempt used up the remaining time. The retry lane cannot begin then, because Temporal rejects an
// activity whose timeout is not above zero.
func (d *delivery) expire(ctx workflow.Context) (ended bool) {
	if d.remaining(ctx) > 0 {
		return false
	}
	return d.giveUp(event.ReasonExpired, d.progress.MaxAgePassed())
}

// remaining returns how much of max_age is left.
func (d *delivery) remaining(ctx workflow.Context) time.Duration {
	return time.Duration(d.policy.MaxAge) - workflow.Now(ctx).Sub(d.run.began)
}

// hasFastLane reports whether the first attempt to the target may be made within a workflow task.
func (d *delivery) hasFastLane() bool {
	return d.policy.FastLane && time.Duration(d.policy.Timeout) <= fastLaneTimeout
}

// recallFirstAttempt asks for the outcome of the first attempt that a lost workflow task may have
// made, and reports whether the delivery has ended. It asks also if the run is canceled or max_age
// has passed, because the event may have been delivered.
func (d *delivery) recallFirstAttempt(ctx workflow.Context) (ended bool) {
	if d.run.lostBy == "" || !d.hasFastLane() {
		return false
	}
	d.progress = d.progress.Begin(fanout.Request{Process: d.run.lostBy})
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	return d.applyLastOutcome(disconnected)
}

// tryFastLane makes the first attempt within the current workflow task, and reports whether the
// delivery has ended.
func (d *delivery) tryFastLane(ctx workflow.Context) (ended bool) {
	if !d.run.fastLane || !d.hasFastLane() || ctx.Err() != nil {
		return false
	}
	return d.applyOutcome(ctx, d.firstAttempt(ctx))
}

// firstAttempt executes FirstAttempt and returns the outcome.
func (d *delivery) firstAttempt(ctx workflow.Context) fanout.Outcome {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: time.Duration(d.policy.Timeout) + localSlack,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                d.target + ": first attempt",
	})
	input := fanout.DeliverInput{Message: d.run.in.Message, Policy: d.policy}
	var result fanout.FirstAttemptResult
	err := workflow.ExecuteLocalActivity(ctx, acts.FirstAttempt, input).Get(ctx, &result)
	// FirstAttempt fails only if its context ends. It counts as an attempt, because the request
	// may have been sent.
	if err != nil {
		return fanout.Outcome{Verdict: fanout.Retry, Progress: fanout.Progress{Attempts: 1, Error: fanout.Cut(err.Error(), fanout.ErrorLimit)}}
	}
	return result.Outcome
}

// applyLastOutcome asks the process that began the request in flight for its outcome, applies the
// outcome, and reports whether the delivery has ended. If the process does not answer, it counts as
// killed. Then the attempt counts, and the next attempt may send the event a second time.
func (d *delivery) applyLastOutcome(ctx workflow.Context) (ended bool) {
	result, err := d.recall(ctx, d.progress.InFlight)
	switch {
	case err != nil:
		d.progress = d.progress.Lost()
	case !result.Sent:
		d.progress = d.progress.Unsent()
	default:
		outcome := result.Outcome
		if left := outcome.NotBefore.Sub(workflow.Now(ctx)); outcome.Wait != (fanout.Wait{}) && left < time.Duration(outcome.Wait.Least) {
			outcome.Wait.Least = target.Duration(max(left, time.Millisecond)) // a part of the wait has passed
		}
		return d.applyOutcome(ctx, outcome)
	}
	return d.progress.Attempts >= d.policy.MaxAttempts && d.giveUp(event.ReasonExhausted, d.progress)
}

// recall asks the process that began a request for its outcome. If Temporal was unreachable
// meanwhile, the process could not answer. Then recall asks again.
func (d *delivery) recall(ctx workflow.Context, request fanout.Request) (result fanout.RecallResult, err error) {
	for {
		reachable := false
		reachable, err = d.ask(ctx, request, &result)
		if !isSilence(err) || reachable {
			return result, err
		}
	}
}

// ask is one question to the process that began a request. Only the silence of the process ends it
// without an answer: Temporal repeats it if the answer is lost, but not if no process takes it.
//
// ask also reports whether Temporal was reachable for so long that a living process would have taken
// the question. A timer fires after reconnectTime. If it fires in time, Temporal was reachable then.
// So an outage in the first half ended early enough for the process to poll again in the second
// half. If there was none in the first half, the process has polled in it.
func (d *delivery) ask(ctx workflow.Context, request fanout.Request, result *fanout.RecallResult) (reachable bool, err error) {
	timer, cancelTimer := workflow.WithCancel(ctx)
	defer cancelTimer()
	activity := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID:             fanout.RecallActivityID(d.target),
		TaskQueue:              fanout.ProcessQueue(workflow.GetInfo(ctx).TaskQueueName, request.Process),
		ScheduleToStartTimeout: recallTimeout,
		StartToCloseTimeout:    time.Duration(d.policy.Timeout) + recallSlack,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 1},
		DisableEagerExecution:  true,
		Summary:                d.target + ": ask for the outcome of the last attempt",
	})
	asked := workflow.Now(ctx)
	within := func(limit time.Duration) bool { return workflow.Now(ctx).Sub(asked) <= limit+timerSlack }
	answer := workflow.ExecuteActivity(activity, acts.Recall, fanout.RecallInput{
		Target: d.target, RunID: workflow.GetInfo(ctx).OriginalRunID, Number: request.Number,
	})
	halfInTime := false
	selector := workflow.NewSelector(ctx).AddFuture(answer, func(workflow.Future) {}).
		AddFuture(workflow.NewTimer(timer, reconnectTime), func(workflow.Future) { halfInTime = within(reconnectTime) })
	for !answer.IsReady() {
		selector.Select(ctx)
	}
	err = answer.Get(ctx, result)
	return halfInTime && within(recallTimeout), err
}

// isSilence reports whether an activity failed because no worker took it in time.
func isSilence(err error) bool {
	timeout, ok := errors.AsType[*temporal.TimeoutError](err)
	return ok && timeout.TimeoutType() == enums.TIMEOUT_TYPE_SCHEDULE_TO_START
}

// applyOutcome applies the outcome of an attempt and reports whether the delivery has ended.
func (d *delivery) applyOutcome(ctx workflow.Context, outcome fanout.Outcome) (ended bool) {
	d.progress, d.notBefore, d.targetState = outcome.Progress, outcome.NotBefore, outcome.TargetState
	switch {
	case outcome.Verdict == fanout.Delivered:
		return true
	case outcome.Verdict == fanout.Rejected:
		return d.giveUp(event.ReasonRejected, d.progress)
	case d.progress.Attempts >= d.policy.MaxAttempts:
		return d.giveUp(event.ReasonExhausted, d.progress)
	case outcome.Wait == (fanout.Wait{}): // no attempt failed, or FirstAttempt itself failed: the retry lane decides when to send
		return false
	}
	if expired := outcome.Wait.Expired(d.remaining(ctx), d.policy.MaxAge); expired != "" {
		return d.giveUp(event.ReasonExpired, d.progress.PrefixError(expired))
	}
	if d.notBefore.After(d.run.began.Add(time.Duration(d.policy.MaxAge))) { // the wait fits, but its jitter does not
		d.notBefore = workflow.Now(ctx).Add(time.Duration(outcome.Wait.Least))
	}
	return false
}

// tryRetryLane schedules the delivery on the target's own queue. Temporal retries it there until the
// event is delivered or the delivery is given up. If Deliver ends while the outcome of an attempt is
// missing, tryRetryLane asks the process that began the attempt. If that was the only reason why
// Deliver ended, it schedules Deliver again.
func (d *delivery) tryRetryLane(ctx workflow.Context) {
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	for {
		if err := ctx.Err(); err != nil {
			d.giveUp(fanout.Explain(err, d.progress))
			return
		}
		err := d.deliver(ctx)
		if err == nil {
			return
		}
		d.progress = fanout.LastProgress(err, d.progress)
		if d.progress.Delivered() {
			return
		}
		if d.progress.InFlight != (fanout.Request{}) && d.applyLastOutcome(disconnected) {
			return
		}
		if !fanout.IsUnknown(err) {
			d.giveUp(fanout.Reason(err, d.progress))
			return
		}
		if d.expire(ctx) {
			return
		}
		d.inline.Body = nil // so that the history does not grow by the message with each question
	}
}

// deliver executes Deliver until the event is delivered (the error is nil), until the delivery is
// given up, or until Deliver needs the outcome of an attempt that another process made.
func (d *delivery) deliver(ctx workflow.Context) error {
	d.setState(ctx, fanout.StateRetrying)
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	lane, cancel := workflow.WithCancel(workflow.WithActivityOptions(disconnected, workflow.ActivityOptions{
		ActivityID:             fanout.DeliverActivityID(d.target),
		TaskQueue:              fanout.TargetQueue(workflow.GetInfo(ctx).TaskQueueName, d.target),
		ScheduleToCloseTimeout: d.remaining(ctx),
		StartToCloseTimeout:    time.Duration(d.policy.Timeout) + activities.DeliverOverhead,
		RetryPolicy:            retryPolicy(d.policy),
		// If the run is canceled while an attempt is in flight, the run waits for that
		// attempt, because the event may still be delivered.
		WaitForCancellation:   true,
		DisableEagerExecution: true,
		Summary:               fanout.Summarize(d.progressSummary()),
	}))
	input := fanout.DeliverInput{
		Message: d.inline, Policy: d.policy, Progress: d.progress, NotBefore: d.notBefore, TargetState: d.targetState,
	}
	delivered := workflow.ExecuteActivity(lane, acts.Deliver, input)
	workflow.NewSelector(ctx).
		AddFuture(delivered, func(workflow.Future) {}).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) { d.fetchProgress(disconnected); cancel() }).
		Select(disconnected)
	var result fanout.DeliverResult
	err := delivered.Get(disconnected, &result)
	if err == nil {
		d.progress = result.Progress
	}
	return err
}

// fetchProgress asks Temporal for the progress of the retry lane before the run cancels Deliver. If
// the cancellation arrives between two attempts, Deliver ends without reporting its progress.
func (d *delivery) fetchProgress(ctx workflow.Context) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: lastProgressTimeout,
		Summary:                d.target + ": read the progress of the delivery",
	})
	var last fanout.LastProgressResult
	err := workflow.ExecuteLocalActivity(ctx, acts.LastProgress, fanout.LastProgressInput{Target: d.target}).Get(ctx, &last)
	if err != nil {
		workflow.GetLogger(ctx).Error("the progress of the retry lane cannot be read; the dead letter may count too few attempts", "target", d.target, "error", err)
	} else if last.Progress != (fanout.Progress{}) && last.Attempts >= d.progress.Attempts {
		d.progress = last.Progress
	}
}

// retryPolicy returns the retry policy of Deliver. It sets no maximum of attempts, and no growing
// wait, because Temporal would count each task that it dispatches, even a task that sent no request.
// Deliver counts the requests, ends the retries itself, and returns a delay with each failure. So
// the interval applies only if a worker was lost.
func retryPolicy(p target.Policy) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: time.Duration(p.Backoff.Initial), BackoffCoefficient: 1}
}

// giveUp ends the delivery without success. It always returns true, so that callers can
// return its result.
func (d *delivery) giveUp(reason event.Reason, progress fanout.Progress) (ended bool) {
	progress.Error = fanout.Cut(progress.Error, fanout.ErrorLimit)
	d.reason, d.progress = reason, progress
	return true
}

// recordDeadLetter writes the dead letter to the tracker. It retries until the tracker has the
// record, even if the run is canceled meanwhile. It sets the search attribute only after
// that, because a server that rejects the attribute terminates the run.
func (d *delivery) recordDeadLetter(ctx workflow.Context) {
	d.setState(ctx, fanout.StateRecording)
	letter := fanout.RecordDeadLetterInput{
		Target: d.target, Reason: d.reason, Progress: d.progress,
		Message: d.inline, NoBody: len(d.run.in.Body) == 0,
		At: workflow.Now(ctx).UTC(), RecordLocation: d.location,
	}
	var recorded fanout.RecordDeadLetterResult
	callTracker(ctx, fanout.RecordActivityID(d.target), d.failureSummary(), acts.RecordDeadLetter, letter, &recorded)
	d.location = fanout.RecordLocation{Tracker: recorded.Tracker}
	d.run.attribute.add(ctx, d.target)
}

// resolveDeadLetter closes the record that an earlier run left of this delivery. It does nothing
// in the first run of an event, because there is no earlier run. Each target has its own change ID,
// because a run that is reset to a later point may have delivered to some of the targets before
// that point.
func (d *delivery) resolveDeadLetter(ctx workflow.Context) {
	if !d.run.rerun || workflow.GetVersion(ctx, "resolve "+d.target, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	d.setState(ctx, fanout.StateResolving)
	resolution := fanout.ResolveDeadLetterInput{Target: d.target, Event: d.inline.Event, At: workflow.Now(ctx).UTC(), RecordLocation: d.location}
	var resolved fanout.ResolveDeadLetterResult
	callTracker(ctx, fanout.ResolveActivityID(d.target), d.target+" delivered: resolve its dead letter", acts.ResolveDeadLetter, resolution, &resolved)
	d.damaged, d.location = resolved.Damaged, fanout.RecordLocation{Tracker: resolved.Tracker}
}

// progressSummary returns the line that Temporal UI shows beside the retry lane's activity.
func (d *delivery) progressSummary() string {
	if d.progress.Attempts == 0 {
		return d.target
	}
	return fmt.Sprintf("%s after attempt %d: %s", d.target, d.progress.Attempts, fanout.Short(d.progress.Error))
}

// failureSummary returns one line that says why the delivery was given up.
func (d *delivery) failureSummary() string {
	line := fmt.Sprintf("%s %s", d.target, d.reason)
	switch n := d.progress.Attempts; n {
	case 0:
	case 1:
		line += " after 1 attempt"
	default:
		line += fmt.Sprintf(" after %d attempts", n)
	}
	return line + ": " + fanout.Short(d.progress.Error)
}
