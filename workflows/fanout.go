package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// Workflows contains the workflow and the callback by which it reports to its process.
type Workflows struct {
	// Delivered is called once for each event that reached all of its targets, if its
	// time of publication is known. age is the time from the publication to the last
	// delivery. Delivered may be nil.
	Delivered func(age time.Duration)
}

// FanOut carries one event to each of its targets. The deliveries run concurrently, and
// none waits for another. When a delivery is given up, its dead letter is recorded at
// once. The run completes if all deliveries succeeded. It ends as Canceled if a delivery was given
// up because the run was canceled. Otherwise it fails with FailureDeadLettered.
//
// A run that is not the first of its event makes only the outstanding deliveries. It
// resolves the record of each one that succeeds, and it fails if it leaves any record of
// the event open.
func (w *Workflows) FanOut(ctx workflow.Context, in fanout.Input) (fanout.Result, error) {
	r := newRun(ctx, in)
	r.answerQueries(ctx)
	if r.rerun {
		r.keepOnlyOutstanding(ctx)
	}
	r.began = began(ctx)
	r.chooseFastLane(ctx)
	r.settleAll(ctx)
	w.reportAge(ctx, r)
	return r.conclude(ctx)
}

// run is the state of one run, which all its deliveries share.
type run struct {
	in         fanout.Input
	rerun      bool      // true if the run is not the first of its event
	continued  bool      // true if the run was reset to a point at which its history contains deliveries to all targets
	began      time.Time // max_age counts from this time
	fastLane   bool      // true if this task makes the first attempts
	lostBy     string    // the process that lost the first workflow task; it may have made first attempts
	deliveries []*delivery
	others     openRecords       // the open records of targets to which this run does not deliver
	attribute  deadLetterTargets // the run's search attribute
	detailed   bool              // true once the run has current details
}

func newRun(ctx workflow.Context, in fanout.Input) *run {
	r := &run{in: in, rerun: isRerun(ctx), deliveries: plan(in), attribute: deadLetterTargets{usable: in.SearchAttributes}}
	for _, d := range r.deliveries {
		d.run = r
	}
	return r
}

// settleAll makes all deliveries, and returns when each is delivered or recorded.
func (r *run) settleAll(ctx workflow.Context) {
	all := workflow.NewWaitGroup(ctx)
	for _, d := range r.deliveries {
		all.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer all.Done()
			d.deliverOrRecord(ctx)
		})
	}
	// A cancellation must not end the wait, because each delivery still has to be recorded.
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	all.Wait(disconnected)
}

// began returns the time from which max_age counts: the start of the run. The history of a reset
// run starts with the history of its base run, which may have started long ago. After a reset,
// max_age counts from the reset. If the reset point is after this version marker, the recorded
// value applies.
func began(ctx workflow.Context) time.Time {
	if isReset(ctx) && workflow.GetVersion(ctx, "max_age from the reset", workflow.DefaultVersion, 1) == 1 {
		return workflow.Now(ctx)
	}
	return workflow.GetInfo(ctx).WorkflowStartTime
}

// undisturbedHistory is the number of events in a run's history at its first workflow task,
// if no task was lost before: the run started, the task scheduled, the task started.
const undisturbedHistory = 3

// chooseFastLane decides whether this workflow task makes first attempts. Only the first task of
// a run that ingest started makes them, and only if no task was lost before it. If a task was lost,
// the history is longer, and the process that polled the lost task may have made first attempts. A
// task that is only late, because of a backlog, does not make the history longer.
func (r *run) chooseFastLane(ctx workflow.Context) {
	switch {
	case r.rerun && !r.continued:
	case workflow.GetInfo(ctx).GetCurrentHistoryLength() <= undisturbedHistory:
		r.fastLane = true
	case slices.ContainsFunc(r.deliveries, (*delivery).hasFastLane):
		r.lostBy = processOfLostTask(ctx)
	}
}

// lostTaskTimeout is how long processOfLostTask may take. The SDK retries FirstTask within that
// time.
const lostTaskTimeout = time.Minute

// processOfLostTask returns the process that polled the first workflow task of the run, which was
// lost. It is empty if no process can be asked.
func processOfLostTask(ctx workflow.Context) string {
	ctx, _ = workflow.NewDisconnectedContext(ctx) // if the run is canceled, the event may be delivered all the same
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: lostTaskTimeout,
		Summary:                "read which process lost the first workflow task",
	})
	var lost fanout.FirstTaskResult
	if err := workflow.ExecuteLocalActivity(ctx, acts.FirstTask).Get(ctx, &lost); err != nil {
		workflow.GetLogger(ctx).Error("the process that lost the first workflow task cannot be read; first attempts may be made twice", "error", err)
	}
	return lost.Process
}

// memo returns the value that the starter of the run put into the memo, or the zero value
// if there is none. If the value cannot be read, memo logs the consequence.
func memo[T any](ctx workflow.Context, field, consequence string) (value T) {
	payload, ok := workflow.GetInfo(ctx).Memo.GetFields()[field]
	if !ok {
		return value
	}
	if err := fanout.DataConverter().FromPayload(payload, &value); err != nil {
		workflow.GetLogger(ctx).Error("the memo cannot be read; "+consequence, "memo", field, "error", err)
	}
	return value
}

// conclude returns the result or the error with which the run ends.
func (r *run) conclude(ctx workflow.Context) (fanout.Result, error) {
	if slices.ContainsFunc(r.deliveries, func(d *delivery) bool { return d.reason == event.ReasonCanceled }) {
		return fanout.Result{}, temporal.NewCanceledError(r.trackersLeft())
	}
	var problems []string
	if dead := r.deadLettered(); len(dead) > 0 {
		problems = append(problems, fmt.Sprintf("%d of %d deliveries dead-lettered: %s", len(dead), len(r.deliveries), strings.Join(dead, "; ")))
	}
	open, lines := r.leftOpen()
	if len(open) > 0 {
		problems = append(problems, "dead letters of earlier runs stay open: "+strings.Join(lines, ", "))
	}
	if len(problems) > 0 {
		r.attribute.add(ctx, open...)
		return fanout.Result{}, temporal.NewApplicationErrorWithOptions(strings.Join(problems, "; "), fanout.FailureDeadLettered,
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{r.trackersLeft()}})
	}
	var result fanout.Result
	for _, d := range r.deliveries {
		result.Delivered = append(result.Delivered, d.target)
	}
	return result, nil
}

// deadLettered returns a line for each delivery for which this run recorded a dead letter.
func (r *run) deadLettered() (lines []string) {
	for _, d := range r.deliveries {
		if d.reason != "" {
			lines = append(lines, d.failureSummary())
		}
	}
	return lines
}

// leftOpen returns the targets whose dead letters of earlier runs stay open, and a line for
// each of them.
func (r *run) leftOpen() (open, lines []string) {
	for _, d := range r.deliveries {
		if d.damaged != "" {
			open = append(open, d.target)
			lines = append(lines, d.target+" (delivered; "+fanout.Short(d.damaged)+")")
		}
	}
	others := r.others.targets()
	return append(open, others...), append(lines, others...)
}

// trackersLeft returns which tracker has each record that the run leaves open. The next run
// needs this, because it asks only these trackers.
func (r *run) trackersLeft() fanout.DeadLetteredDetails {
	trackers := make(map[string]string)
	add := func(target, id string) {
		if id != "" { // it is empty if a worker of an earlier version answered
			trackers[target] = id
		}
	}
	for _, target := range r.others.targets() {
		add(target, r.others[target])
	}
	for _, d := range r.deliveries {
		if d.reason != "" || d.damaged != "" {
			add(d.target, d.location.Tracker)
		}
	}
	return fanout.DeadLetteredDetails{Trackers: trackers}
}

// reportAge reports the age of an event whose deliveries have all succeeded. When Temporal
// re-executes the code, reportAge reports nothing, because the age was reported before.
func (w *Workflows) reportAge(ctx workflow.Context, r *run) {
	published := r.in.Event.PublishedAt
	if w.Delivered == nil || workflow.IsReplaying(ctx) || published.IsZero() || len(r.deliveries) == 0 {
		return
	}
	if !slices.ContainsFunc(r.deliveries, func(d *delivery) bool { return d.reason != "" }) {
		w.Delivered(workflow.Now(ctx).Sub(published))
	}
}
