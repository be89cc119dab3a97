package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// trackerTimeout bounds one read or write on the tracker's disk.
const trackerTimeout = 30 * time.Second

// callTracker executes an activity of the tracker and repeats it until it succeeds, even if the
// run is canceled meanwhile, because neither the input nor the answer may be lost.
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
		// retries have no limit. Then the run executes it again.
		workflow.GetLogger(ctx).Error("an activity of the tracker ended without success; the run executes it again", "activity", id, "error", err, "in", time.Minute)
		pause := workflow.NewTimerWithOptions(ctx, time.Minute, workflow.TimerOptions{Summary: fanout.Summarize(repeatPrefix + summary)})
		_ = pause.Get(ctx, nil) // never fails, because nothing cancels a disconnected context
	}
}

// repeatPrefix begins the summary of the wait before an activity of the tracker is repeated.
const repeatPrefix = "repeat: "
