package history

import (
	"context"
	"fmt"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/fanout"
)

// FirstTask returns the id of the process that polled the first workflow task of a run, if that
// task was lost. It is empty if the task was not lost, if it ended because the run was reset, or
// if another program polled it.
func (r Reader) FirstTask(ctx context.Context, workflowID, runID string) (process string, err error) {
	response, err := r.Client.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       r.Namespace,
		Execution:       &common.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
		MaximumPageSize: 4, // started, task scheduled, task started, and how the task ended
	})
	if err != nil {
		return "", fmt.Errorf("read which process polled the first workflow task of run %s: %w", runID, err)
	}
	for _, e := range response.GetHistory().GetEvents() {
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_TASK_STARTED:
			process = fanout.ProcessOf(e.GetWorkflowTaskStartedEventAttributes().GetIdentity())
		case enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
			return process, nil
		case enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			if e.GetWorkflowTaskFailedEventAttributes().GetCause() == enums.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
				return "", nil
			}
			return process, nil
		}
	}
	return "", nil
}
