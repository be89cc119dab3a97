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
)

// PreviousEnding returns how the run before this one ended. If this run was created by a reset,
// the previous run is the base run of the reset. Otherwise it is the last closed run of the same
// workflow ID. If there is no previous run, PreviousEnding returns the zero value.
func (r Reader) PreviousEnding(ctx context.Context, workflowID, runID string) (Ending, error) {
	previous, err := r.baseRun(ctx, workflowID, runID)
	if err == nil && previous == "" {
		previous, err = r.lastClosedRun(ctx, workflowID, runID)
	}
	if err != nil {
		return Ending{}, fmt.Errorf("find the run before run %s: %w", runID, err)
	}
	if previous == "" {
		return Ending{}, nil
	}
	return r.Ending(ctx, workflowID, previous)
}

// baseRun returns the base run of a run that was created by a reset. It is empty if the run was
// not created by a reset. The last reset in the history counts, because the events before it were
// copied from the base run.
func (r Reader) baseRun(ctx context.Context, workflowID, runID string) (base string, err error) {
	events := r.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
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

// Visibility is about a second late, so lastClosedRun polls it every visibilityInterval, for at
// most visibilityTimeout. Visibility has the runs of one workflow ID in order: once it lists the
// run that asks, it lists all runs before that one.
const (
	visibilityInterval = 200 * time.Millisecond
	visibilityTimeout  = 10 * time.Second
)

// lastClosedRun returns the run of a workflow ID that closed last, other than runID. It is
// empty if there is none. It is also empty if the ID contains a quote or a backslash,
// because a visibility query cannot name such an ID: it compares the text between its
// quotes together with the backslashes that escape it.
func (r Reader) lastClosedRun(ctx context.Context, workflowID, runID string) (last string, err error) {
	if strings.ContainsAny(workflowID, `'"\`) {
		return "", nil
	}
	var others []string
	for deadline := time.Now().Add(visibilityTimeout); ; {
		runs, err := r.listRuns(ctx, workflowID)
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
		case <-time.After(visibilityInterval):
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

// listRuns returns the runs of a workflow ID that visibility lists.
func (r Reader) listRuns(ctx context.Context, workflowID string) (runs []string, err error) {
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
