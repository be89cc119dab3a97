package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const (
	// localSlack is what a fast-lane attempt may take beyond the target's timeout.
	localSlack = 5 * time.Second

	// recallTimeout is how long a process may take to fetch the question what
	// became of a first attempt. It is asked when Temporal was away: pollers find
	// it again within 10 s.
	recallTimeout = 20 * time.Second

	// lastProgressTimeout is for the question how far a delivery has come, asked
	// of Temporal while its cancellation waits.
	lastProgressTimeout = 3 * time.Second
)

// delivery is one event on its way to one target.
type delivery struct {
	in     fanout.Input
	target string
	policy target.Policy
	began  time.Time     // of the run
	inline event.Message // what of the message may travel in an activity's input
	marks  *marks        // of the run

	rerun       bool                // an earlier run may have left a record of it
	holder      fanout.RecordHolder // of its open record
	recallQueue string              // where to ask for the first attempt; empty: it is yet to be made

	progress  fanout.Progress
	notBefore time.Time
	sighting  fanout.TargetState
	reason    event.Reason // empty: not given up
	damaged   string       // why the open record of a delivery that succeeded could not be resolved

	state   fanout.State
	changed func() // tells the run's current details that the state is another
}

// plan makes the deliveries of a run: one per target, or a single one that goes
// straight to the tracker when the message cannot be fanned out.
func plan(in fanout.Input) []*delivery {
	if u := in.Undeliverable; u != nil {
		return []*delivery{{
			in: in, target: u.Target(), inline: inline(in, 1), state: fanout.StateWaiting, changed: func() {},
			reason: u.Reason, progress: fanout.Progress{Error: fanout.Cut(u.Error, fanout.ErrorLimit)},
		}}
	}
	message := inline(in, len(in.Targets))
	var deliveries []*delivery
	planned := make(map[string]bool, len(in.Targets))
	for _, policy := range in.Targets {
		policy = policy.Normalized()
		if planned[policy.Target] { // in an input written by hand; an ActivityID may not be used twice
			continue
		}
		planned[policy.Target] = true
		deliveries = append(deliveries, &delivery{
			in: in, target: policy.Target, policy: policy, inline: message, state: fanout.StateWaiting, changed: func() {},
		})
	}
	return deliveries
}

// inline is what of the message may travel in the inputs of the activities of so
// many targets. What is left out the activities read from the run's history.
func inline(in fanout.Input, targets int) event.Message {
	m := event.Message{Source: in.Source}
	room := fanout.InlineTotal / max(1, targets)
	if size := fanout.PayloadSize(in.Event); size <= room {
		m.Event, room = in.Event, room-size
	}
	// Only a body that is small enough is worth the time to encode it.
	if len(in.Body) <= min(fanout.InlineBody, room) && fanout.PayloadSize(in.Body) <= room {
		m.Body = in.Body
	}
	return m
}

// run delivers, or records why it could not.
func (d *delivery) run(ctx workflow.Context) {
	if d.reason == "" && !d.expire(ctx) && !d.tryFastLane(ctx) && !d.expire(ctx) {
		d.tryRetryLane(ctx)
	}
	if d.reason != "" {
		d.record(ctx)
		d.become(fanout.StateDeadLetter)
		return
	}
	d.resolve(ctx)
	d.become(fanout.StateDelivered)
}

// expire gives up a delivery whose run began more than max_age ago: its worker
// was away for that long, or the first attempt took what was left. Temporal
// refuses an activity without time.
func (d *delivery) expire(ctx workflow.Context) (settled bool) {
	if d.remaining(ctx) > 0 {
		return false
	}
	progress := d.progress
	if progress.Error == "" {
		progress.Error = "max_age has passed before the first attempt"
	} else {
		progress.Error = "max_age has passed; " + progress.Error
	}
	return d.giveUp(event.ReasonExpired, progress)
}

// remaining is what is left of max_age, counted from the start of the run.
func (d *delivery) remaining(ctx workflow.Context) time.Duration {
	return time.Duration(d.policy.MaxAge) - workflow.Now(ctx).Sub(d.began)
}

// tryFastLane makes the first attempt within the current workflow task.
func (d *delivery) tryFastLane(ctx workflow.Context) (settled bool) {
	if !d.policy.FastLane || ctx.Err() != nil {
		return false
	}
	if d.recallQueue != "" {
		return d.settle(ctx, d.recall(ctx))
	}
	return d.settle(ctx, d.attempt(ctx))
}

// attempt makes the first attempt.
func (d *delivery) attempt(ctx workflow.Context) fanout.Outcome {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: time.Duration(d.policy.Timeout) + localSlack,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                d.target + ": first attempt",
	})
	input := fanout.DeliverInput{Message: d.in.Message, Policy: d.policy}
	var result fanout.FirstAttemptResult
	err := workflow.ExecuteLocalActivity(ctx, acts.FirstAttempt, input).Get(ctx, &result)
	if err != nil { // the process ended it: a request may be out, so it counts
		return fanout.Outcome{Verdict: fanout.Retry, Progress: fanout.Progress{Attempts: 1, Error: fanout.Cut(err.Error(), fanout.ErrorLimit)}}
	}
	return result.Outcome
}

// recall asks the process that may have made the first attempt. One that does
// not answer was killed: the retry lane then delivers, perhaps again.
func (d *delivery) recall(ctx workflow.Context) fanout.Outcome {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID:             fanout.RecallActivityID(d.target),
		TaskQueue:              d.recallQueue,
		ScheduleToCloseTimeout: recallTimeout + time.Duration(d.policy.Timeout),
		ScheduleToStartTimeout: recallTimeout,
		DisableEagerExecution:  true,
		Summary:                d.target + ": what became of the first attempt?",
	})
	var result fanout.RecallResult
	if err := workflow.ExecuteActivity(ctx, acts.Recall, fanout.RecallInput{Target: d.target}).Get(ctx, &result); err != nil {
		return fanout.Outcome{Verdict: fanout.Held}
	}
	return result.Outcome
}

// settle decides by the outcome of the first attempt whether the delivery has ended.
func (d *delivery) settle(ctx workflow.Context, outcome fanout.Outcome) (settled bool) {
	d.progress, d.notBefore, d.sighting = outcome.Progress, outcome.NotBefore, outcome.TargetState
	switch {
	case outcome.Verdict == fanout.Delivered:
		return true
	case outcome.Verdict == fanout.Rejected:
		return d.giveUp(event.ReasonRejected, d.progress)
	case d.progress.Attempts >= d.policy.MaxAttempts:
		return d.giveUp(event.ReasonExhausted, d.progress)
	case outcome.Wait == (fanout.Wait{}): // held back: then the retry lane decides
		return false
	}
	if expired := outcome.Wait.Expired(d.remaining(ctx), d.policy.MaxAge); expired != "" {
		d.progress.Error = expired + "; " + d.progress.Error
		return d.giveUp(event.ReasonExpired, d.progress)
	}
	if d.notBefore.After(d.began.Add(time.Duration(d.policy.MaxAge))) { // the jitter does not fit
		d.notBefore = workflow.Now(ctx).Add(time.Duration(outcome.Wait.Least))
	}
	return false
}

// tryRetryLane leaves the delivery to the target's own queue, where Temporal
// retries it until it is delivered or given up.
func (d *delivery) tryRetryLane(ctx workflow.Context) {
	if err := ctx.Err(); err != nil {
		d.giveUp(fanout.Explain(err, d.progress))
		return
	}
	d.become(fanout.StateRetrying)
	lasting, _ := workflow.NewDisconnectedContext(ctx)
	lane, cancel := workflow.WithCancel(workflow.WithActivityOptions(lasting, workflow.ActivityOptions{
		ActivityID:             fanout.DeliverActivityID(d.target),
		TaskQueue:              fanout.TargetQueue(workflow.GetInfo(ctx).TaskQueueName, d.target),
		ScheduleToCloseTimeout: d.remaining(ctx),
		StartToCloseTimeout:    time.Duration(d.policy.Timeout) + activities.Overhead,
		RetryPolicy:            retryPolicy(d.policy),
		// An attempt that is under way when the run is canceled still counts:
		// wait for it and tell what truly became of the delivery.
		WaitForCancellation:   true,
		DisableEagerExecution: true,
		Summary:               fanout.Summarize(d.summary()),
	}))
	input := fanout.DeliverInput{
		Message: d.inline, Policy: d.policy, Progress: d.progress, NotBefore: d.notBefore, TargetState: d.sighting,
	}
	delivered := workflow.ExecuteActivity(lane, acts.Deliver, input)
	workflow.NewSelector(ctx).
		AddFuture(delivered, func(workflow.Future) {}).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) { d.learnProgress(lasting); cancel() }).
		Select(lasting)
	var result fanout.DeliverResult
	if err := delivered.Get(lasting, &result); err != nil {
		d.giveUp(fanout.Explain(err, d.progress))
		return
	}
	d.progress = result.Progress
}

// learnProgress asks, before the retry lane is canceled, how far it has come: a
// cancellation that meets it between two attempts ends it without a word.
func (d *delivery) learnProgress(ctx workflow.Context) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: lastProgressTimeout,
		Summary:                d.target + ": how far has the delivery come?",
	})
	var last fanout.LastProgressResult
	err := workflow.ExecuteLocalActivity(ctx, acts.LastProgress, fanout.LastProgressInput{Target: d.target}).Get(ctx, &last)
	if err != nil {
		workflow.GetLogger(ctx).Error("the attempts of the retry lane are not known", "target", d.target, "error", err)
	} else if last.Attempts >= d.progress.Attempts {
		d.progress = last.Progress
	}
}

// retryPolicy is the target's backoff as Temporal knows it. It has no maximum of
// attempts: Temporal counts every task it hands out, also those that sent
// nothing, so Deliver counts requests and ends the retries itself. It stands
// for attempts that a lost worker could not answer; all others name their delay.
func retryPolicy(p target.Policy) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval:    time.Duration(p.Backoff.Initial),
		BackoffCoefficient: p.Backoff.Multiplier,
		MaximumInterval:    time.Duration(p.Backoff.Max),
	}
}

func (d *delivery) giveUp(reason event.Reason, progress fanout.Progress) (settled bool) {
	progress.Error = fanout.Cut(progress.Error, fanout.ErrorLimit)
	d.reason, d.progress = reason, progress
	return true
}

// record keeps the dead letter. It is tried until the tracker has it, also when
// the run is canceled meanwhile. The search attribute comes after the record,
// because a server that refuses the attribute terminates the run.
func (d *delivery) record(ctx workflow.Context) {
	d.become(fanout.StateRecording)
	letter := fanout.RecordDeadLetterInput{
		Target: d.target, Reason: d.reason, Progress: d.progress,
		Message: d.inline, NoBody: len(d.in.Body) == 0,
		At: workflow.Now(ctx).UTC(), RecordHolder: d.holder,
	}
	var recorded fanout.RecordDeadLetterResult
	tell(ctx, fanout.RecordActivityID(d.target), d.verdict(), acts.RecordDeadLetter, letter, &recorded)
	d.holder = fanout.RecordHolder{Tracker: recorded.Tracker}
	d.marks.add(ctx, d.target)
}

// resolve closes the record that an earlier run left of the delivery. The first
// run of an event has none. Each target is a change of its own: a run that is
// reset to a later point may have delivered to some before that.
func (d *delivery) resolve(ctx workflow.Context) {
	if !d.rerun || workflow.GetVersion(ctx, "resolve "+d.target, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	d.become(fanout.StateResolving)
	resolution := fanout.ResolveDeadLetterInput{Target: d.target, Event: d.inline.Event, At: workflow.Now(ctx).UTC(), RecordHolder: d.holder}
	var resolved fanout.ResolveDeadLetterResult
	tell(ctx, fanout.ResolveActivityID(d.target), d.target+" delivered: its dead letter is resolved", acts.ResolveDeadLetter, resolution, &resolved)
	d.damaged, d.holder = resolved.Damaged, fanout.RecordHolder{Tracker: resolved.Tracker}
}

// summary is the line beside the retry lane's activity in Temporal UI.
func (d *delivery) summary() string {
	if d.progress.Attempts == 0 {
		return d.target
	}
	return fmt.Sprintf("%s after attempt %d: %s", d.target, d.progress.Attempts, fanout.Short(d.progress.Error))
}

// verdict says in one line why the delivery was given up.
func (d *delivery) verdict() string {
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
