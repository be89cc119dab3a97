package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// isRerun reports whether the run is not the first of its event, because it was replayed,
// reset or started by hand.
func isRerun(ctx workflow.Context) bool {
	return isReset(ctx) || startedBy(ctx) != fanout.StartedByIngest
}

func isReset(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.OriginalRunID != info.WorkflowExecution.RunID
}

// startedBy returns the name of the program that started the run, from the memo. It is
// empty if the run was started by hand.
func startedBy(ctx workflow.Context) string {
	memo, ok := workflow.GetInfo(ctx).Memo.GetFields()[fanout.MemoStartedBy]
	if !ok {
		return ""
	}
	var by string
	if err := fanout.DataConverter().FromPayload(memo, &by); err != nil {
		workflow.GetLogger(ctx).Error("the memo cannot be read; the run counts as started by hand", "memo", fanout.MemoStartedBy, "error", err)
	}
	return by
}

// trackersOfMemo returns the identities of the trackers, by target, that a replay names in
// the memo.
func trackersOfMemo(ctx workflow.Context) map[string]string {
	memo, ok := workflow.GetInfo(ctx).Memo.GetFields()[fanout.MemoTrackers]
	if !ok {
		return nil
	}
	var trackers map[string]string
	if err := fanout.DataConverter().FromPayload(memo, &trackers); err != nil {
		workflow.GetLogger(ctx).Error("the memo cannot be read; any tracker is asked", "memo", fanout.MemoTrackers, "error", err)
	}
	return trackers
}

// narrow returns the deliveries that a rerun still has to make, and the other targets that
// have an open record of the event. If the run was reset to a later point, its history
// already contains deliveries, so it continues with all of them.
func narrow(ctx workflow.Context, in fanout.Input, deliveries []*delivery) (left []*delivery, others openRecords) {
	if workflow.GetVersion(ctx, "outstanding", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		for _, d := range deliveries {
			d.holder.Unknown = true
		}
		return deliveries, nil
	}
	if startedBy(ctx) == "" {
		identify(ctx, in)
	}
	settled, open := outstanding(ctx, deliveries)
	if settled {
		deliveries = slices.DeleteFunc(deliveries, func(d *delivery) bool { _, found := open[d.target]; return !found })
	}
	for _, d := range deliveries {
		d.holder.Tracker = open[d.target]
		delete(open, d.target)
	}
	return deliveries, open
}

// openRecords maps each target that has an open record of the event to the identity of the
// tracker that has the record. The identity is empty if a worker of an earlier version
// answered.
type openRecords map[string]string

func (o openRecords) targets() []string { return workflow.DeterministicKeys(o) }

// identify sets the search attributes of a run that was started by hand, because only
// ingest and replay set them when they start a run.
func identify(ctx workflow.Context, in fanout.Input) {
	attributes := fanout.SearchAttributes(in)
	if !in.SearchAttributes || attributes.Size() == 0 {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes.Copy()); err != nil {
		workflow.GetLogger(ctx).Error("the search attributes were not set", "error", err)
	}
}

// outstanding asks which deliveries the earlier runs left open. If the records are in
// several trackers, it asks several times, because each worker answers only for its own
// tracker.
func outstanding(ctx workflow.Context, deliveries []*delivery) (settled bool, open openRecords) {
	replayed := startedBy(ctx) == fanout.StartedByReplay && !isReset(ctx)
	question := fanout.OutstandingInput{Settled: replayed}
	if replayed {
		question.Trackers = trackersOfMemo(ctx)
	}
	for _, d := range deliveries {
		question.Event = d.inline.Event
		question.Targets = append(question.Targets, d.target)
	}
	open = make(openRecords)
	var answer fanout.OutstandingResult
	tell(ctx, fanout.OutstandingActivityID, "what did the runs before leave to do?", acts.Outstanding, question, &answer)
	settled = answer.Settled
	open.add(answer)
	for n := 2; len(answer.Elsewhere) > 0; n++ { // ends, because each answer names fewer trackers
		question.Settled, question.Trackers = true, answer.Elsewhere
		answer = fanout.OutstandingResult{}
		tell(ctx, fmt.Sprintf("%s-%d", fanout.OutstandingActivityID, n), "and what is open in another tracker?", acts.Outstanding, question, &answer)
		open.add(answer)
	}
	return settled, open
}

// add adds the open records of one tracker. If two trackers have a record of the same
// target, the first answer wins, because it came from the tracker that was named for the
// target.
func (o openRecords) add(answer fanout.OutstandingResult) {
	for _, target := range answer.Targets {
		if _, found := o[target]; !found {
			o[target] = answer.Tracker
		}
	}
}
