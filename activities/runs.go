package activities

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/history"
)

// Runs reads what Temporal knows of runs. history.Reader implements it.
type Runs interface {
	// PreviousEnding returns how the run before the named one ended, and the zero value if
	// there is none.
	PreviousEnding(ctx context.Context, workflowID, runID string) (history.Ending, error)

	// PendingProgress returns how far a pending activity has come. It returns false if no
	// such activity is pending, or if the activity has not recorded any progress yet.
	PendingProgress(ctx context.Context, workflowID, runID, activityID string) (fanout.Progress, bool, error)

	// FirstTask returns the id of the process that polled the first workflow task of a run, if
	// that task was lost. It is empty if the task was not lost, or if no process can be asked.
	FirstTask(ctx context.Context, workflowID, runID string) (process string, err error)
}

// runOf returns the run that an activity belongs to.
func runOf(ctx context.Context) workflow.Execution { return activity.GetInfo(ctx).WorkflowExecution }

// FirstTask returns which process to ask about the first attempts of a run whose first workflow
// task was lost.
func (a *Activities) FirstTask(ctx context.Context) (fanout.FirstTaskResult, error) {
	run := runOf(ctx)
	process, err := a.runs.FirstTask(ctx, run.ID, run.RunID)
	return fanout.FirstTaskResult{Process: process}, err
}

// LastProgress returns how far Deliver has come for a target, while Deliver waits for its next
// attempt or makes one. The workflow must ask before it cancels Deliver: Temporal keeps the
// progress only until the activity ends, and a cancellation may end the activity without
// reporting it.
func (a *Activities) LastProgress(ctx context.Context, in fanout.LastProgressInput) (fanout.LastProgressResult, error) {
	run := runOf(ctx)
	progress, _, err := a.runs.PendingProgress(ctx, run.ID, run.RunID, fanout.DeliverActivityID(in.Target))
	return fanout.LastProgressResult{Progress: progress}, err
}
