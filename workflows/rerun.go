package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/event"
)

// isRerun is true for a run that is not the first of its event: replayed, reset,
// or started by hand.
func isRerun(ctx workflow.Context) bool { return isReset(ctx) || startedBy(ctx) != StartedByIngest }

func isReset(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.OriginalRunID != info.WorkflowExecution.RunID
}

// startedBy is what the memo says, empty for a run that was started by hand.
func startedBy(ctx workflow.Context) string {
	memo, ok := workflow.GetInfo(ctx).Memo.GetFields()[MemoStartedBy]
	if !ok {
		return ""
	}
	var by string
	if err := DataConverter().FromPayload(memo, &by); err != nil {
		workflow.GetLogger(ctx).Error("the memo cannot be read; the run counts as started by hand", "memo", MemoStartedBy, "error", err)
	}
	return by
}

// narrow leaves of the deliveries of a rerun what is still to be made, and says
// which other targets have an open record of the event. A run that was reset to
// a later point goes on from there instead: what it had begun there it ends.
func narrow(ctx workflow.Context, in Input, deliveries []*delivery) (left []*delivery, open []string) {
	if workflow.GetVersion(ctx, "outstanding", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return deliveries, nil
	}
	if startedBy(ctx) == "" {
		identify(ctx, in)
	}
	before := outstanding(ctx, deliveries, startedBy(ctx) == StartedByReplay && !isReset(ctx))
	if before.Settled {
		deliveries = slices.DeleteFunc(deliveries, func(d *delivery) bool { return !slices.Contains(before.Targets, d.target) })
	}
	planned := func(target string) bool {
		return slices.ContainsFunc(deliveries, func(d *delivery) bool { return d.target == target })
	}
	return deliveries, slices.DeleteFunc(before.Targets, planned)
}

// identify sets the search attributes of a run that was started by hand, because
// nobody else has.
func identify(ctx workflow.Context, in Input) {
	escape := event.Escape
	if in.wordsCut() {
		escape = event.EscapeCut
	}
	attributes := searchAttributes(in.Event, escape)
	if !in.SearchAttributes || attributes.Size() == 0 {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes.Copy()); err != nil {
		workflow.GetLogger(ctx).Error("the search attributes were not set", "error", err)
	}
}

// outstanding asks what the runs before left to do.
func outstanding(ctx workflow.Context, deliveries []*delivery, settled bool) (open activities.Open) {
	question := activities.Rerun{Settled: settled}
	for _, d := range deliveries {
		question.Event = d.inline.Event
		question.Targets = append(question.Targets, d.target)
	}
	tell(ctx, "outstanding", "what did the runs before leave to do?", acts.Outstanding, question, &open)
	return open
}
