package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
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
// once. The run completes if all deliveries succeeded, ends Canceled if it was canceled,
// and otherwise fails with DeadLettered.
//
// A run that is not the first of its event makes only the outstanding deliveries. It
// resolves the record of each one that succeeds, and it fails if it leaves any record of
// the event open.
func (w *Workflows) FanOut(ctx workflow.Context, in fanout.Input) (fanout.Result, error) {
	deliveries, open, rerun := plan(in), openRecords(nil), isRerun(ctx)
	show(ctx, &deliveries)
	if rerun {
		deliveries, open = narrow(ctx, in, deliveries)
	}
	start := began(ctx)
	recall := recallQueue(ctx, start)
	marked := &marks{usable: in.SearchAttributes}
	all := workflow.NewWaitGroup(ctx)
	for _, d := range deliveries {
		d.began, d.recallQueue, d.rerun, d.marks = start, recall, rerun, marked
		all.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer all.Done()
			d.run(ctx)
		})
	}
	// The wait must outlive a cancellation, because each delivery still has to be recorded.
	lasting, _ := workflow.NewDisconnectedContext(ctx)
	all.Wait(lasting)
	w.reportAge(ctx, in, deliveries)
	return conclude(ctx, marked, deliveries, open)
}

// began returns when the run began; max_age counts from then. The history of a reset run
// starts with that of the run before it, which may be long ago, so such a run begins with
// its reset. If it was reset to a point after its history made that choice, it keeps the
// time that the history chose.
func began(ctx workflow.Context) time.Time {
	if isReset(ctx) && workflow.GetVersion(ctx, "max_age from the reset", workflow.DefaultVersion, 1) == 1 {
		return workflow.Now(ctx)
	}
	return workflow.GetInfo(ctx).WorkflowStartTime
}

// unharmed is the number of events in a run's history at its first workflow task, if no
// task was lost before: the run started, the task scheduled, the task started.
const unharmed = 3

// recallQueue returns the queue on which to ask about the first attempts of this run. It
// is empty if they are yet to be made. If the history is longer than unharmed, a workflow
// task was lost, and another process may have made first attempts in it. A task that only
// comes late, out of a backlog, does not make the history longer. The events before a
// reset do not count as a lost task either.
func recallQueue(ctx workflow.Context, start time.Time) string {
	info := workflow.GetInfo(ctx)
	if info.GetCurrentHistoryLength() <= unharmed || !start.Equal(info.WorkflowStartTime) {
		return ""
	}
	memo, ok := info.Memo.GetFields()[fanout.MemoRecallQueue]
	if !ok {
		return ""
	}
	var queue string
	if err := fanout.DataConverter().FromPayload(memo, &queue); err != nil {
		workflow.GetLogger(ctx).Error("the memo cannot be read; first attempts may be made twice", "memo", fanout.MemoRecallQueue, "error", err)
		return ""
	}
	return queue
}

// conclude returns the result or the error with which the run ends. others are the targets
// that have an open record of the event and no delivery in this run.
func conclude(ctx workflow.Context, marked *marks, deliveries []*delivery, others openRecords) (fanout.Result, error) {
	var result fanout.Result
	var dead, left []string
	open := others.targets()
	canceled := false
	for _, d := range deliveries {
		if d.reason == "" {
			result.Delivered = append(result.Delivered, d.target)
		} else {
			dead = append(dead, d.verdict())
		}
		if d.damaged != "" {
			open = append(open, d.target)
			left = append(left, d.target+" (delivered; "+fanout.Short(d.damaged)+")")
		}
		canceled = canceled || d.reason == event.ReasonCanceled
	}
	for _, target := range open {
		if !slices.ContainsFunc(deliveries, func(d *delivery) bool { return d.target == target }) {
			left = append(left, target)
		}
	}
	var parts []string
	if len(dead) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d deliveries dead-lettered: %s", len(dead), len(deliveries), strings.Join(dead, "; ")))
	}
	if len(left) > 0 {
		parts = append(parts, "dead letters of earlier runs stay open: "+strings.Join(left, ", "))
	}
	switch {
	case canceled:
		return fanout.Result{}, temporal.NewCanceledError(trackersLeft(deliveries, others))
	case len(parts) > 0:
		marked.add(ctx, open...)
		return fanout.Result{}, temporal.NewApplicationErrorWithOptions(strings.Join(parts, "; "), fanout.DeadLettered,
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{trackersLeft(deliveries, others)}})
	}
	return result, nil
}

// trackersLeft returns which tracker has each record that the run leaves open. The next run
// needs this, because it asks only these trackers.
func trackersLeft(deliveries []*delivery, others openRecords) fanout.DeadLetteredDetails {
	trackers := make(map[string]string)
	add := func(target, id string) {
		if id != "" { // a worker of an earlier version does not name its tracker
			trackers[target] = id
		}
	}
	for _, target := range others.targets() {
		add(target, others[target])
	}
	for _, d := range deliveries {
		if d.reason != "" || d.damaged != "" {
			add(d.target, d.holder.Tracker)
		}
	}
	return fanout.DeadLetteredDetails{Trackers: trackers}
}

// reportAge reports the age of an event whose deliveries have all succeeded. A replay of
// the workflow code reports nothing, because the report is not part of the history.
func (w *Workflows) reportAge(ctx workflow.Context, in fanout.Input, deliveries []*delivery) {
	if w.Delivered == nil || workflow.IsReplaying(ctx) || in.Event.PublishedAt.IsZero() || len(deliveries) == 0 {
		return
	}
	for _, d := range deliveries {
		if d.reason != "" {
			return
		}
	}
	w.Delivered(workflow.Now(ctx).Sub(in.Event.PublishedAt))
}

// acts is a nil pointer whose methods name the activities. The workflow never calls them.
var acts *activities.Activities
