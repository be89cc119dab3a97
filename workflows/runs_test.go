package workflows_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
)

// oneTarget is a targets.yaml with the target a. A test may append settings of a to it.
const oneTarget = `
targets:
  - name: a
    url: $a
`

// threeTargets is a targets.yaml with the targets a, b and c. b retries for long.
const threeTargets = `
targets:
  - name: a
    url: $a
  - name: b
    url: $b
    max_attempts: 100
    retry_statuses: [429, 503]
    backoff: {initial: 1s, multiplier: 1}
  - name: c
    url: $c
`

const (
	running    = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	failed     = enums.WORKFLOW_EXECUTION_STATUS_FAILED
	canceled   = enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	terminated = enums.WORKFLOW_EXECUTION_STATUS_TERMINATED
)

// firstTask is the id of the event at which a run's first workflow task starts. The events
// before it are the run's start and the scheduling of the task.
const firstTask = 3

// runs adds to the fixture the ways in which a run is started again, and how it must end.
type runs struct{ *fixture.Fixture }

func start(t *testing.T, targets string) *runs {
	t.Helper()
	return &runs{fixture.Start(t, fixture.Options{Targets: targets})}
}

// startThree starts workers for the targets a, b and c. c rejects every request.
func startThree(t *testing.T) *runs {
	t.Helper()
	r := start(t, threeTargets)
	r.Answer("c", http.StatusBadRequest)
	return r
}

// reset resets a run to a workflow task, and returns the new run.
func (r *runs) reset(run client.WorkflowRun, toTask int64) client.WorkflowRun {
	r.T.Helper()
	reset, err := r.Client.ResetWorkflowExecution(r.Ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: devstack.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		WorkflowTaskFinishEventId: toTask, RequestId: uuid.NewString(),
	})
	require.NoError(r.T, err)
	return r.Client.GetWorkflow(r.Ctx, run.GetID(), reset.GetRunId())
}

// startByHand starts a run as "Start Workflow Like This One" in Temporal UI does: with the
// same ID, type, queue and input, and with nothing else.
func (r *runs) startByHand(workflowID string, in fanout.Input) client.WorkflowRun {
	r.T.Helper()
	return r.Execute(client.StartWorkflowOptions{ID: workflowID, TaskQueue: fixture.TaskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true}, in)
}

// replay starts a run as package replay does. trackers are the trackers of the open records,
// by target.
func (r *runs) replay(in fanout.Input, trackers map[string]string) client.WorkflowRun {
	r.T.Helper()
	return r.Execute(fanout.ReplayOptions(in, fixture.TaskQueue, trackers), in)
}

// completes waits for the end of a run, and asserts that it completed.
func (r *runs) completes(run client.WorkflowRun) {
	r.T.Helper()
	_, err := r.AwaitEnd(run)
	require.NoError(r.T, err)
}

// endsIn waits for the end of a run, asserts its status and returns its error.
func (r *runs) endsIn(status enums.WorkflowExecutionStatus, run client.WorkflowRun) error {
	r.T.Helper()
	got, err := r.AwaitEnd(run)
	require.Equal(r.T, status, got, "%v", err)
	return err
}

// openRecords returns the targets that have an open record of an event.
func (r *runs) openRecords(eventID string) []string {
	r.T.Helper()
	open, err := r.Tracker.OpenTargets(r.Ctx, eventID)
	require.NoError(r.T, err)
	return open
}

// requests returns the numbers of requests that a, b and c got.
func (r *runs) requests() [3]int {
	return [3]int{r.Targets["a"].Count(), r.Targets["b"].Count(), r.Targets["c"].Count()}
}

// awaitRequests waits until a target has got n requests.
func (r *runs) awaitRequests(target string, n int) {
	r.T.Helper()
	await.True(r.T, "requests at "+target, func() bool { return r.Targets[target].Count() >= n })
}

// cancel requests the cancellation of a run.
func (r *runs) cancel(run client.WorkflowRun) {
	r.T.Helper()
	require.NoError(r.T, r.Client.CancelWorkflow(r.Ctx, run.GetID(), run.GetRunID()))
}

// statuses returns the answer of the query deliveries, by target.
func (r *runs) statuses(run client.WorkflowRun) map[string]fanout.DeliveryStatus {
	r.T.Helper()
	value, err := r.Client.QueryWorkflow(r.Ctx, run.GetID(), run.GetRunID(), fanout.QueryDeliveries)
	require.NoError(r.T, err)
	var list []fanout.DeliveryStatus
	require.NoError(r.T, value.Get(&list))
	statuses := make(map[string]fanout.DeliveryStatus)
	for _, one := range list {
		statuses[one.Target] = one
	}
	return statuses
}

// startedTasks returns the ids of the events at which workflow tasks of a run started.
func (r *runs) startedTasks(run client.WorkflowRun) (tasks []int64) {
	r.T.Helper()
	for _, e := range r.Events(run) {
		if e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_STARTED {
			tasks = append(tasks, e.GetEventId())
		}
	}
	return tasks
}
