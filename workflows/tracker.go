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

// callTracker executes an activity of the tracker and repeats it until it succeeds, even if the
// run is canceled meanwhile, because neither the input nor the answer must be lost.
func callTracker(ctx workflow.Context, id, summary string, act, input, answer any) {
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
		workflow.GetLogger(ctx).Error("an activity of the tracker ended without success; the run executes it again", "activity", id, "error", err, "in", time.Minute)
		if workflow.NewTimerWithOptions(ctx, time.Minute, workflow.TimerOptions{Summary: fanout.Summarize(repeatPrefix + summary)}).Get(ctx, nil) != nil {
			return
		}
	}
}

// repeatPrefix begins the summary of the wait before an activity of the tracker is repeated.
const repeatPrefix = "repeat: "

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
