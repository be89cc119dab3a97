package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// isRerun reports whether the run is not the first of its event, because a replay or a user
// started it, or because it was reset.
func isRerun(ctx workflow.Context) bool {
	return isReset(ctx) || startedBy(ctx) != fanout.StartedByIngest
}

func isReset(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.OriginalRunID != info.WorkflowExecution.RunID
}

// startedBy returns the name of the program that started the run. It is empty if the run was
// started by hand.
func startedBy(ctx workflow.Context) string {
	return memo[string](ctx, fanout.MemoStartedBy, "the run counts as started by hand")
}

// keepOnlyOutstanding drops deliveries without an open record, and stores the open records of other
// targets in r.others. If the run was reset to a later point, its history already contains
// deliveries to all targets, so the run continues with all of them.
func (r *run) keepOnlyOutstanding(ctx workflow.Context) {
	if workflow.GetVersion(ctx, "outstanding", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		r.continued = true
		for _, d := range r.deliveries {
			d.location.Unknown = true
		}
		return
	}
	if startedBy(ctx) == "" {
		r.setSearchAttributes(ctx)
	}
	settled, open := r.askOutstanding(ctx)
	if settled {
		r.deliveries = slices.DeleteFunc(r.deliveries, func(d *delivery) bool { _, found := open[d.target]; return !found })
	}
	for _, d := range r.deliveries {
		d.location.Tracker = open[d.target]
		delete(open, d.target)
	}
	r.others = open
}

// openRecords maps each target that has an open record of the event to the identity of the
// tracker with that record. The identity is empty if a worker of an earlier version answered.
type openRecords map[string]string

// targets returns the targets that have an open record, sorted.
func (o openRecords) targets() []string { return workflow.DeterministicKeys(o) }

// setSearchAttributes sets the search attributes of a run that was started by hand, because
// only ingest and replay set them when they start a run.
func (r *run) setSearchAttributes(ctx workflow.Context) {
	attributes := fanout.SearchAttributes(r.in)
	if !r.in.SearchAttributes || attributes.Size() == 0 {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes.Copy()); err != nil {
		workflow.GetLogger(ctx).Error("the search attributes were not set; filters do not find the run", "error", err)
	}
}

// askOutstanding asks which deliveries of the earlier runs have an open record. settled is true if
// the previous run delivered or recorded each of its deliveries. If the records are in several
// trackers, askOutstanding asks several times, because each worker answers only for its own
// tracker.
func (r *run) askOutstanding(ctx workflow.Context) (settled bool, open openRecords) {
	startedByReplay := startedBy(ctx) == fanout.StartedByReplay && !isReset(ctx)
	question := fanout.OutstandingInput{TrackersKnown: startedByReplay}
	if startedByReplay {
		question.Trackers = memo[map[string]string](ctx, fanout.MemoTrackers, "a worker with any tracker may answer")
	}
	for _, d := range r.deliveries {
		question.Event = d.inline.Event
		question.Targets = append(question.Targets, d.target)
	}
	open = make(openRecords)
	var answer fanout.OutstandingResult
	callTracker(ctx, fanout.OutstandingActivityID, "ask which deliveries are outstanding", acts.Outstanding, question, &answer)
	settled = answer.Settled
	open.add(answer)
	for n := 2; len(answer.Elsewhere) > 0; n++ { // ends, because each answer names fewer trackers
		question.TrackersKnown, question.Trackers = true, answer.Elsewhere
		answer = fanout.OutstandingResult{}
		callTracker(ctx, fmt.Sprintf("%s-%d", fanout.OutstandingActivityID, n), "ask another tracker for open records", acts.Outstanding, question, &answer)
		open.add(answer)
	}
	return settled, open
}

// add adds the open records of one tracker. If two trackers have an open record for the same
// target, the first answer applies, because it came from the tracker that the previous run or the
// replay named for the target.
func (o openRecords) add(answer fanout.OutstandingResult) {
	for _, target := range answer.Targets {
		if _, found := o[target]; !found {
			o[target] = answer.Tracker
		}
	}
}
