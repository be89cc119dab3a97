package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/internal/devstack"
)

// limitedTargets are the targets of the demo, all at the address of the limited target.
// Only the requests to notification-service are answered with 429.
const limitedTargets = `
targets:
  - name: analytics-service
    url: %[1]s/analytics-service
  - name: notification-service
    url: %[1]s/notification-service
  - name: compliance-service
    url: %[1]s/compliance-service
`

func limit(r devstack.Request) devstack.Answer {
	if r.Path != "/notification-service" {
		return devstack.Answer{}
	}
	// Retry-After is longer than it takes to take the pictures.
	return devstack.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"600"}}, Body: "slow down"}
}

// startPendingRun sends an event of the demo again while one of its targets answers 429,
// and waits until its run waits for the next attempt. The event must not belong to the
// chosen conversation, whose runs are in another picture. A task queue and a worker of
// its own keep the run from the demo's worker.
func (s *scene) startPendingRun(ctx context.Context, bin string, runs []*workflow.WorkflowExecutionInfo) (err error) {
	const taskQueue = "screenshots"
	if s.limited, err = devstack.StartTarget(ctx, devstack.TargetOptions{Script: limit}); err != nil {
		return err
	}
	targets := filepath.Join(s.dir, "targets.yaml")
	if err := os.WriteFile(targets, fmt.Appendf(nil, limitedTargets, s.limited.URL()), 0o600); err != nil {
		return err
	}
	s.worker, err = devstack.StartProcess(ctx, devstack.ProcessOptions{Path: filepath.Join(bin, "worker"), Env: []string{
		"TEMPORAL_ADDRESS=" + s.temporalAddress, "FANOUT_TARGETS=" + targets, "FANOUT_TASK_QUEUE=" + taskQueue,
		"FANOUT_HTTP_ADDR=127.0.0.1:0", "FANOUT_DEAD_LETTERS=off",
	}})
	if err != nil {
		return err
	}
	for _, run := range runs {
		if run.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED && conversationOf(run) != s.conversation {
			if s.pending, err = s.startAgain(ctx, run.GetExecution(), taskQueue); err != nil {
				return err
			}
			return s.waitPending(ctx)
		}
	}
	return fmt.Errorf("all completed runs of the demo belong to the conversation %s", s.conversation)
}

// startAgain starts a closed run once more on another task queue. It copies everything
// about the start from the run's history.
func (s *scene) startAgain(ctx context.Context, closed *common.WorkflowExecution, taskQueue string) (execution, error) {
	event, err := s.temporal.GetWorkflowHistory(ctx, closed.GetWorkflowId(), closed.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
	if err != nil {
		return execution{}, fmt.Errorf("read the history of %s: %w", closed.GetWorkflowId(), err)
	}
	original := event.GetWorkflowExecutionStartedEventAttributes()
	delete(original.GetMemo().GetFields(), "recall_queue") // names the process that made the original's first attempts
	started, err := s.temporal.WorkflowService().StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
		Namespace:        devstack.Namespace,
		RequestId:        s.dir, // any text that no other start uses
		WorkflowId:       closed.GetWorkflowId(),
		WorkflowType:     original.GetWorkflowType(),
		TaskQueue:        &taskqueue.TaskQueue{Name: taskQueue},
		Input:            original.GetInput(),
		Memo:             original.GetMemo(),
		SearchAttributes: original.GetSearchAttributes(),
		UserMetadata:     event.GetUserMetadata(),
	})
	if err != nil {
		return execution{}, fmt.Errorf("start %s again: %w", closed.GetWorkflowId(), err)
	}
	return execution{closed.GetWorkflowId(), started.GetRunId()}, nil
}

// waitPending waits until the pending run has only one activity left, which has failed
// and waits for its next attempt.
func (s *scene) waitPending(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		described, err := s.temporal.DescribeWorkflowExecution(ctx, s.pending.workflowID, s.pending.runID)
		if err != nil {
			return fmt.Errorf("describe the run %s: %w", s.pending.workflowID, err)
		}
		activities := described.GetPendingActivities()
		if len(activities) == 1 && activities[0].GetLastFailure() != nil &&
			time.Until(activities[0].GetNextAttemptScheduleTime().AsTime()) > time.Minute {
			return nil
		}
		select {
		case <-ticker.C:
		case <-s.worker.Done():
			return fmt.Errorf("the worker ended before a target answered 429:\n%s", s.worker.Text())
		case <-ctx.Done():
			return fmt.Errorf("the run %s has no activity that waits for its next attempt: %w; the worker printed:\n%s",
				s.pending.workflowID, context.Cause(ctx), s.worker.Text())
		}
	}
}
