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

// Workflows holds what FanOut tells its process.
type Workflows struct {
	// Delivered is told, once per event, how long after its publication the
	// last target had it; nil: nobody is.
	Delivered func(age time.Duration)
}

// FanOut carries one event to each of its targets. The deliveries run side by
// side and none waits for another; one that is given up is recorded at once. The
// run completes when all were delivered, ends Canceled when it was canceled, and
// else fails with DeadLettered.
//
// A run that is not the first of its event makes only the deliveries that are
// outstanding, resolves the record of each that succeeds, and fails where it
// leaves any record of the event open.
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
	// The wait must outlive a cancellation: each delivery still records itself.
	lasting, _ := workflow.NewDisconnectedContext(ctx)
	all.Wait(lasting)
	w.reportAge(ctx, in, deliveries)
	return conclude(ctx, marked, deliveries, open)
}

// began is when the run began, from which max_age counts. The history of a reset
// run starts as that of the run before it, perhaps long ago: it begins with its
// reset. One that was reset to a later point keeps what it was counted by there.
func began(ctx workflow.Context) time.Time {
	if isReset(ctx) && workflow.GetVersion(ctx, "max_age from the reset", workflow.DefaultVersion, 1) == 1 {
		return workflow.Now(ctx)
	}
	return workflow.GetInfo(ctx).WorkflowStartTime
}

// unharmed is the length of a run's history when its first task comes, if none
// came before: the run's start, the task, and that it is taken.
const unharmed = 3

// recallQueue is where to ask for the first attempts of this run, empty when they
// are yet to be made. A longer history tells of a task that was lost, with first
// attempts made in it perhaps, in another process; a task that only comes late,
// from a backlog, is none. Nor is what stands before a reset.
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

// conclude turns what became of the deliveries into the end of the run. others are
// other targets with an open record of the event.
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

// trackersLeft says which tracker has each record that the run leaves open: for the
// next run, which asks no other.
func trackersLeft(deliveries []*delivery, others openRecords) fanout.DeadLetteredDetails {
	trackers := make(map[string]string)
	add := func(target, id string) {
		if id != "" { // a worker of an earlier version says nothing
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

// reportAge tells the process how old the event was when its last target had
// it. It is no part of the run: a replay says nothing.
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

// acts is never called: it only lends its methods' names.
var acts *activities.Activities
