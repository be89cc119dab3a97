package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// isRerun is true for a run that is not the first of its event: replayed, reset,
// or started by hand.
func isRerun(ctx workflow.Context) bool {
	return isReset(ctx) || startedBy(ctx) != fanout.StartedByIngest
}

func isReset(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.OriginalRunID != info.WorkflowExecution.RunID
}

// startedBy is what the memo says, empty for a run that was started by hand.
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

// trackersOfMemo are the identities of the trackers that a replay names in its memo.
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

// narrow leaves of the deliveries of a rerun what is still to be made, and says
// which other targets have an open record of the event. A run that was reset to
// a later point goes on from there instead: what it had begun there it ends.
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

// openRecords are targets with an open record of the event, and the identity of the
// tracker that has it; empty if a worker of an earlier version answered.
type openRecords map[string]string

func (o openRecords) targets() []string { return workflow.DeterministicKeys(o) }

// identify sets the search attributes of a run that was started by hand, because
// nobody else has.
func identify(ctx workflow.Context, in fanout.Input) {
	attributes := fanout.SearchAttributes(in)
	if !in.SearchAttributes || attributes.Size() == 0 {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes.Copy()); err != nil {
		workflow.GetLogger(ctx).Error("the search attributes were not set", "error", err)
	}
}

// outstanding asks what the runs before left to do. Records in several trackers take
// several questions, because each worker answers for its own.
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
	for n := 2; len(answer.Elsewhere) > 0; n++ { // each answer leaves fewer
		question.Settled, question.Trackers = true, answer.Elsewhere
		answer = fanout.OutstandingResult{}
		tell(ctx, fmt.Sprintf("%s-%d", fanout.OutstandingActivityID, n), "and what is open in another tracker?", acts.Outstanding, question, &answer)
		open.add(answer)
	}
	return settled, open
}

// add notes the open records of one tracker. Where two have one, the tracker that
// was named for the target answered first.
func (o openRecords) add(answer fanout.OutstandingResult) {
	for _, target := range answer.Targets {
		if _, found := o[target]; !found {
			o[target] = answer.Tracker
		}
	}
}
