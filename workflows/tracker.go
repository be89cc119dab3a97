package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// trackerTimeout is for one look or write at the tracker's disk.
const trackerTimeout = 30 * time.Second

// tell executes an activity of the tracker until it succeeds, also when the run
// is canceled meanwhile: what it is told, or answers, must not be lost.
func tell(ctx workflow.Context, id, summary string, act, input, answer any) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	options := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID:          id,
		TaskQueue:           fanout.DeadLetterQueue(workflow.GetInfo(ctx).TaskQueueName),
		StartToCloseTimeout: trackerTimeout,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
		},
		DisableEagerExecution: true,
		Summary:               fanout.Summarize(summary),
	})
	for {
		err := workflow.ExecuteActivity(options, act, input).Get(options, answer)
		if err == nil {
			return
		}
		// Only an operator's command can end it otherwise, and then it starts again.
		workflow.GetLogger(ctx).Error("the tracker was not told", "activity", id, "error", err)
		if workflow.NewTimerWithOptions(ctx, time.Minute, workflow.TimerOptions{Summary: fanout.Summarize("then again: " + summary)}).Get(ctx, nil) != nil {
			return
		}
	}
}

// marks keeps the search attribute DeadLetterTargets of one run.
type marks struct {
	usable bool     // the namespace has the attribute
	names  []string // sorted, also those that the attribute has no room for
}

// add shows that the run leaves a dead letter for each of the targets.
func (m *marks) add(ctx workflow.Context, targets ...string) {
	if !m.usable || len(targets) == 0 {
		return
	}
	shown, _ := workflow.GetTypedSearchAttributes(ctx).GetKeywordList(fanout.DeadLetterTargetsKey)
	m.names = slices.Concat(m.names, targets, shown)
	slices.Sort(m.names)
	m.names = slices.DeleteFunc(slices.Compact(m.names), func(name string) bool { return name == fanout.MoreTargets })
	if now := fanout.FittingTargets(m.names); !slices.Equal(now, shown) {
		upsert(ctx, now)
	}
}

func upsert(ctx workflow.Context, targets []string) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, fanout.DeadLetterTargetsKey.ValueSet(targets)); err != nil {
		workflow.GetLogger(ctx).Error("the search attribute DeadLetterTargets was not set", "targets", targets, "error", err)
	}
}
