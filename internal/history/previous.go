package history

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

	"genesys-fanout/fanout"
)

// PreviousEnding returns how the run before the named one ended. If the named run was reset, that
// is the base run of the reset; otherwise it is the last closed run of the same workflow ID. If there
// is none, it returns the zero value.
func (r Reader) PreviousEnding(ctx context.Context, workflowID, runID string) (Ending, error) {
	before, err := r.resetFrom(ctx, workflowID, runID)
	if err == nil && before == "" {
		before, err = r.lastClosed(ctx, workflowID, runID)
	}
	if err != nil {
		return Ending{}, fmt.Errorf("look for the run before %s: %w", runID, err)
	}
	if before == "" {
		return Ending{}, nil
	}
	return r.Ending(ctx, workflowID, before)
}

// resetFrom returns the base run of a run that was reset. It is empty if the run was not reset.
// The last reset in the history counts, because the events before it were copied from the base
// run.
func (r Reader) resetFrom(ctx context.Context, workflowID, runID string) (base string, err error) {
	history := r.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
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

// Visibility is about a second late, so lastClosed asks every visibilityTick, for at most
// visibilityPatience. Visibility is in order for one workflow ID: once it has the run that
// asks, it has all runs before that one.
const (
	visibilityTick     = 200 * time.Millisecond
	visibilityPatience = 10 * time.Second
)

// lastClosed returns the run of a workflow ID that closed last, other than runID. It is
// empty if there is none. It is also empty if the ID contains a quote or a backslash,
// because a visibility query cannot name such an ID: it compares the text between its
// quotes together with the backslashes that escape it.
func (r Reader) lastClosed(ctx context.Context, workflowID, runID string) (last string, err error) {
	if strings.ContainsAny(workflowID, `'"\`) {
		return "", nil
	}
	var others []string
	for deadline := time.Now().Add(visibilityPatience); ; {
		runs, err := r.runsOf(ctx, workflowID)
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
		described, err := r.Client.DescribeWorkflowExecution(ctx, workflowID, run)
		if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
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

// runsOf returns the runs of a workflow ID that visibility has.
func (r Reader) runsOf(ctx context.Context, workflowID string) (runs []string, err error) {
	list := &workflowservice.ListWorkflowExecutionsRequest{Namespace: r.Namespace, Query: "WorkflowId = '" + workflowID + "'"}
	for {
		page, err := r.Client.ListWorkflow(ctx, list)
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

// PendingProgress returns how far a pending activity has come. It returns false if no such activity
// is pending, or if the activity has not recorded any progress yet.
func (r Reader) PendingProgress(ctx context.Context, workflowID, runID, activityID string) (fanout.Progress, bool, error) {
	described, err := r.Client.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return fanout.Progress{}, false, fmt.Errorf("describe run %s: %w", runID, err)
	}
	for _, pending := range described.GetPendingActivities() {
		if pending.GetActivityId() != activityID || pending.GetHeartbeatDetails() == nil {
			continue
		}
		var progress fanout.Progress
		if err := r.DataConverter.FromPayloads(pending.GetHeartbeatDetails(), &progress); err != nil {
			return fanout.Progress{}, false, fmt.Errorf("read the progress of %s: %w", activityID, err)
		}
		return progress, true, nil
	}
	return fanout.Progress{}, false, nil
}
