package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// retryAfter is what the limited target asks for: longer than the pictures take.
const retryAfter = "600"

// setPending sends an event of the demo again while one of its targets answers
// 429, through a worker of our own on a task queue of its own.
func (s *scene) setPending(ctx context.Context, bin, address string, runs []*workflow.WorkflowExecutionInfo) (err error) {
	const taskQueue = "screenshots"
	s.limited = httptest.NewServer(http.HandlerFunc(answer))
	targets := filepath.Join(s.dir, "targets.yaml")
	if err := os.WriteFile(targets, []byte(targetsFile(s.limited.URL)), 0o600); err != nil {
		return err
	}
	if s.worker, err = start(ctx, filepath.Join(bin, "worker"), "worker", "TEMPORAL_ADDRESS="+address, "FANOUT_TARGETS="+targets,
		"FANOUT_TASK_QUEUE="+taskQueue, "FANOUT_HTTP_ADDR=127.0.0.1:0", "FANOUT_DEAD_LETTERS=off"); err != nil {
		return err
	}
	for _, run := range runs {
		if run.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED && conversation(run) != s.conversation {
			if s.pending, err = s.again(ctx, run.GetExecution(), taskQueue); err != nil {
				return err
			}
			return s.worker.await(ctx, "a pending activity with a failure in the run "+s.pending.id, func() (bool, error) { return s.waits(ctx) })
		}
	}
	return errors.New("no run of the demo's completed outside the conversation " + s.conversation)
}

// targetNames are those that the demo's runs were started for.
var targetNames = []string{"analytics-service", limitedTarget, "compliance-service"}

const limitedTarget = "notification-service"

func targetsFile(url string) string {
	var b strings.Builder
	b.WriteString("targets:\n")
	for _, name := range targetNames {
		fmt.Fprintf(&b, "  - name: %s\n    url: %s/%s\n", name, url, name)
	}
	return b.String()
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/"+limitedTarget {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "slow down") // the worker may be gone
	}
}

// again starts a closed run once more on another task queue, with all that its
// history says of its start.
func (s *scene) again(ctx context.Context, closed *common.WorkflowExecution, taskQueue string) (execution, error) {
	event, err := s.temporal.GetWorkflowHistory(ctx, closed.GetWorkflowId(), closed.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
	if err != nil {
		return execution{}, fmt.Errorf("the history of %s: %w", closed.GetWorkflowId(), err)
	}
	began := event.GetWorkflowExecutionStartedEventAttributes()
	delete(began.GetMemo().GetFields(), "recall_queue") // of the process that made the first attempts
	started, err := s.temporal.WorkflowService().StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
		Namespace:        namespace,
		RequestId:        s.dir, // any, but not that of another start
		WorkflowId:       closed.GetWorkflowId(),
		WorkflowType:     began.GetWorkflowType(),
		TaskQueue:        &taskqueue.TaskQueue{Name: taskQueue},
		Input:            began.GetInput(),
		Memo:             began.GetMemo(),
		SearchAttributes: began.GetSearchAttributes(),
		UserMetadata:     event.GetUserMetadata(),
	})
	if err != nil {
		return execution{}, fmt.Errorf("start %s again: %w", closed.GetWorkflowId(), err)
	}
	return execution{closed.GetWorkflowId(), started.GetRunId()}, nil
}

// waits says whether the pending run has only an activity left that waits for
// its next attempt.
func (s *scene) waits(ctx context.Context) (bool, error) {
	described, err := s.temporal.DescribeWorkflowExecution(ctx, s.pending.id, s.pending.run)
	if err != nil {
		return false, err
	}
	activities := described.GetPendingActivities()
	return len(activities) == 1 && activities[0].GetLastFailure() != nil &&
		time.Until(activities[0].GetNextAttemptScheduleTime().AsTime()) > time.Minute, nil
}
