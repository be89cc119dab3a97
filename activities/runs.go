package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"

	"genesys-fanout/fanout"
)

// Runs tells what Temporal knows of runs.
type Runs interface {
	// Before returns how the run before the named one ended: the base run of a
	// reset, else the last closed run of the same ID. The zero value is for none.
	Before(ctx context.Context, workflowID, runID string) (Before, error)

	// Progress is how far an activity has come that has not ended; false where
	// there is none, or where it told nothing yet.
	Progress(ctx context.Context, workflowID, runID, activityID string) (fanout.Progress, bool, error)
}

// LastProgress is how far Deliver has come for a target, while it waits for its
// next attempt or makes one. Temporal keeps it only until the activity ends,
// and a cancellation ends it without a word.
func (a *Activities) LastProgress(ctx context.Context, in fanout.LastProgressInput) (fanout.LastProgressResult, error) {
	run := activity.GetInfo(ctx).WorkflowExecution
	progress, _, err := a.runs.Progress(ctx, run.ID, run.RunID, fanout.DeliverActivityID(in.Target))
	return fanout.LastProgressResult{Progress: progress}, err
}

// Before implements Runs.
func (h History) Before(ctx context.Context, workflowID, runID string) (Before, error) {
	before, err := h.resetFrom(ctx, workflowID, runID)
	if err == nil && before == "" {
		before, err = h.lastClosed(ctx, workflowID, runID)
	}
	if err != nil {
		return Before{}, fmt.Errorf("look for the run before %s: %w", runID, err)
	}
	if before == "" {
		return Before{}, nil
	}
	return h.Ended(ctx, workflowID, before)
}

// resetFrom is the base run of a reset one, empty where it is none. The last
// reset counts: what stands before it came with the history of the base run.
func (h History) resetFrom(ctx context.Context, workflowID, runID string) (base string, err error) {
	history := h.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		if err != nil {
			return "", err
		}
		failed := e.GetWorkflowTaskFailedEventAttributes()
		if failed.GetCause() == enums.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			base = failed.GetBaseRunId()
		}
	}
	return base, nil
}

// Visibility comes late, by a second or so. It is in order for one workflow ID:
// once it has the run that asks, it has those before it.
const (
	visibilityTick     = 200 * time.Millisecond
	visibilityPatience = 10 * time.Second
)

// lastClosed is the run of an ID that closed last, empty where there is none, or
// where it cannot be asked for: what a visibility query has between its quotes
// is compared with its backslashes.
func (h History) lastClosed(ctx context.Context, workflowID, runID string) (last string, err error) {
	if strings.ContainsAny(workflowID, `'"\`) {
		return "", nil
	}
	var others []string
	for deadline := time.Now().Add(visibilityPatience); ; {
		runs, err := h.runsOf(ctx, workflowID)
		if err != nil {
			return "", err
		}
		others = slices.DeleteFunc(runs, func(run string) bool { return run == runID })
		if len(others) < len(runs) || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(visibilityTick):
		}
	}
	var closed time.Time
	for _, run := range others {
		described, err := h.Client.DescribeWorkflowExecution(ctx, workflowID, run)
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) {
			continue // its retention has passed
		}
		if err != nil {
			return "", err
		}
		info := described.GetWorkflowExecutionInfo()
		if at := info.GetCloseTime().AsTime(); info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING && at.After(closed) {
			last, closed = run, at
		}
	}
	return last, nil
}

// runsOf are the runs of a workflow ID, as visibility has them.
func (h History) runsOf(ctx context.Context, workflowID string) (runs []string, err error) {
	list := &workflowservice.ListWorkflowExecutionsRequest{Namespace: h.Namespace, Query: "WorkflowId = '" + workflowID + "'"}
	for {
		page, err := h.Client.ListWorkflow(ctx, list)
		if err != nil {
			return nil, err
		}
		for _, listed := range page.GetExecutions() {
			runs = append(runs, listed.GetExecution().GetRunId())
		}
		if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
			return runs, nil
		}
	}
}

// Progress implements Runs.
func (h History) Progress(ctx context.Context, workflowID, runID, activityID string) (fanout.Progress, bool, error) {
	described, err := h.Client.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return fanout.Progress{}, false, fmt.Errorf("describe run %s: %w", runID, err)
	}
	for _, pending := range described.GetPendingActivities() {
		if pending.GetActivityId() != activityID || pending.GetHeartbeatDetails() == nil {
			continue
		}
		var progress fanout.Progress
		if err := h.DataConverter.FromPayloads(pending.GetHeartbeatDetails(), &progress); err != nil {
			return fanout.Progress{}, false, fmt.Errorf("read the progress of %s: %w", activityID, err)
		}
		return progress, true, nil
	}
	return fanout.Progress{}, false, nil
}
