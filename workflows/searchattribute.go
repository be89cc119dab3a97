package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// deadLetterTargets maintains the search attribute DeadLetterTargets of one run.
type deadLetterTargets struct {
	usable bool     // true if the namespace has the attribute
	names  []string // sorted; includes the names for which the attribute has no room
}

// add adds targets for which the run leaves a dead letter.
func (t *deadLetterTargets) add(ctx workflow.Context, targets ...string) {
	if !t.usable || len(targets) == 0 {
		return
	}
	shown, _ := workflow.GetTypedSearchAttributes(ctx).GetKeywordList(fanout.DeadLetterTargetsKey)
	t.names = slices.Concat(t.names, targets, shown)
	slices.Sort(t.names)
	t.names = slices.DeleteFunc(slices.Compact(t.names), func(name string) bool { return name == fanout.MoreTargets })
	fitting := fanout.FittingTargets(t.names)
	if slices.Equal(fitting, shown) {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, fanout.DeadLetterTargetsKey.ValueSet(fitting)); err != nil {
		workflow.GetLogger(ctx).Error("the search attribute DeadLetterTargets was not set; filters do not find the run", "targets", fitting, "error", err)
	}
}
