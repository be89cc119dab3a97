package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// trackerTimeout bounds one read or write on the tracker's disk.
const trackerTimeout = 30 * time.Second

// tell executes an activity of the tracker and repeats it until it succeeds, even if the
// run is canceled meanwhile, because neither the input nor the answer must be lost.
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
		// Only an operator's command can end the activity without success, because its
		// retries have no limit. Then it starts again.
		workflow.GetLogger(ctx).Error("the tracker was not told", "activity", id, "error", err)
		if workflow.NewTimerWithOptions(ctx, time.Minute, workflow.TimerOptions{Summary: fanout.Summarize("then again: " + summary)}).Get(ctx, nil) != nil {
			return
		}
	}
}

// marks maintains the search attribute DeadLetterTargets of one run.
type marks struct {
	usable bool     // true if the namespace has the attribute
	names  []string // sorted; includes the names that the attribute has no room for
}

// add adds targets for which the run leaves a dead letter.
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
