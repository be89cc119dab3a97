package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// trackerTimeout is for one look or write at the tracker's disk.
const trackerTimeout = 30 * time.Second

// tell executes an activity of the tracker until it succeeds, also when the run
// is canceled meanwhile: what it is told, or answers, must not be lost.
func tell(ctx workflow.Context, id, summary string, act, input, answer any) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	options := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID:          id,
		TaskQueue:           DeadLetterQueue(workflow.GetInfo(ctx).TaskQueueName),
		StartToCloseTimeout: trackerTimeout,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
		},
		DisableEagerExecution: true,
		Summary:               summary,
	})
	for {
		err := workflow.ExecuteActivity(options, act, input).Get(options, answer)
		if err == nil {
			return
		}
		// Only an operator's command can end it otherwise, and then it starts again.
		workflow.GetLogger(ctx).Error("the tracker was not told", "activity", id, "error", err)
		if workflow.NewTimerWithOptions(ctx, time.Minute, workflow.TimerOptions{Summary: "then again: " + summary}).Get(ctx, nil) != nil {
			return
		}
	}
}

// mark adds targets to the run's search attribute DeadLetterTargets.
func mark(ctx workflow.Context, in Input, targets ...string) {
	if !in.SearchAttributes || len(targets) == 0 {
		return
	}
	marked, _ := workflow.GetTypedSearchAttributes(ctx).GetKeywordList(DeadLetterTargets)
	marked = slices.Clone(marked)
	for _, target := range targets {
		if !slices.Contains(marked, target) {
			marked = append(marked, target)
		}
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, DeadLetterTargets.ValueSet(marked)); err != nil {
		workflow.GetLogger(ctx).Error("the search attribute DeadLetterTargets was not set", "targets", targets, "error", err)
	}
}
