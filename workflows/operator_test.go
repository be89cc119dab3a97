package workflows_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// stage is a point of a delivery in the retry lane at which an operator gives a command.
type stage struct {
	name     string
	settings string // of the target a
	attempts []int  // the attempts that the target gets: first those before the command, then the others
	before   int    // how many of them are before the command
	started  bool   // true if a worker has the task of Deliver
	succeeds bool   // true if the request in flight succeeds
	// reach starts the delivery of evt-1 and returns when it is at the stage. release lets the
	// target answer from then on.
	reach func(r *runs) (run client.WorkflowRun, release func())
}

// stages are all stages. In the first two, the only attempt of the delivery is the last one. A target
// with a timeout over 7 s has no fast lane.
var stages = []stage{
	{name: "waits for a permit", attempts: []int{1}, started: true, settings: `
    max_concurrency: 1
    max_attempts: 1
    timeout: 7s
`, reach: func(r *runs) (client.WorkflowRun, func()) {
		release := r.holdAnswers(http.StatusOK)
		r.StartRun("evt-0") // the fast lane gets the permit, and the slot of the retry lane stays free
		r.awaitRequests("a", 1)
		run := r.StartRun("evt-1")
		r.awaitDeliver(run, enums.PENDING_ACTIVITY_STATE_STARTED)
		return run, release
	}},
	{name: "is in flight", attempts: []int{1}, before: 1, started: true, succeeds: true, settings: `
    max_attempts: 1
    timeout: 60s
`, reach: func(r *runs) (client.WorkflowRun, func()) {
		release := r.holdAnswers(http.StatusOK)
		run := r.StartRun("evt-1")
		r.awaitRequests("a", 1)
		return run, release
	}},
	{name: "is in flight and fails", attempts: []int{1, 2}, before: 1, started: true, settings: `
    max_attempts: 2
    retry_statuses: [503]
    timeout: 60s
`, reach: func(r *runs) (client.WorkflowRun, func()) {
		release := r.holdAnswers(http.StatusServiceUnavailable)
		run := r.StartRun("evt-1")
		r.awaitRequests("a", 1)
		return run, release
	}},
	{name: "is between two attempts", attempts: []int{1, 2}, before: 1, settings: `
    max_attempts: 2
    retry_statuses: [503]
    backoff: {initial: 60s}
    timeout: 60s
`, reach: func(r *runs) (client.WorkflowRun, func()) {
		r.Answer("a", http.StatusServiceUnavailable)
		run := r.StartRun("evt-1")
		r.awaitRequests("a", 1)
		r.awaitDeliver(run, enums.PENDING_ACTIVITY_STATE_SCHEDULED)
		return run, func() { r.Answer("a", http.StatusOK) }
	}},
}

// holdAnswers makes the target a answer no request before release is called. Then the answer to the
// requests that wait is status, and all later requests succeed.
func (r *runs) holdAnswers(status int) (release func()) {
	released := make(chan struct{})
	r.Targets["a"].SetScript(func(devstack.Request) devstack.Answer {
		select {
		case <-released:
		case <-r.Ctx.Done():
		}
		return devstack.Answer{Status: status}
	})
	return func() { r.Answer("a", http.StatusOK); close(released) }
}

// awaitDeliver waits until the activity that delivers to the target a is in a state.
func (r *runs) awaitDeliver(run client.WorkflowRun, state enums.PendingActivityState) {
	r.T.Helper()
	await.True(r.T, "deliver-a in the state "+state.String(), func() bool {
		described, err := r.Client.DescribeWorkflowExecution(r.Ctx, run.GetID(), run.GetRunID())
		require.NoError(r.T, err)
		require.Equal(r.T, running, described.GetWorkflowExecutionInfo().GetStatus(), "the run ended before deliver-a was in the state %s", state)
		for _, pending := range described.GetPendingActivities() {
			if pending.GetActivityId() == fanout.DeliverActivityID("a") {
				return pending.GetState() == state
			}
		}
		return false
	})
}

func execution(run client.WorkflowRun) *common.WorkflowExecution {
	return &common.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()}
}

func (r *runs) pauseDeliver(run client.WorkflowRun) {
	r.T.Helper()
	_, err := r.Client.WorkflowService().PauseActivity(r.Ctx, &workflowservice.PauseActivityRequest{
		Namespace: devstack.Namespace, Execution: execution(run),
		Activity: &workflowservice.PauseActivityRequest_Id{Id: fanout.DeliverActivityID("a")},
	})
	require.NoError(r.T, err)
}

func (r *runs) unpauseDeliver(run client.WorkflowRun) {
	r.T.Helper()
	_, err := r.Client.WorkflowService().UnpauseActivity(r.Ctx, &workflowservice.UnpauseActivityRequest{
		Namespace: devstack.Namespace, Execution: execution(run),
		Activity: &workflowservice.UnpauseActivityRequest_Id{Id: fanout.DeliverActivityID("a")},
	})
	require.NoError(r.T, err)
}

func (r *runs) resetDeliver(run client.WorkflowRun) {
	r.T.Helper()
	_, err := r.Client.WorkflowService().ResetActivity(r.Ctx, &workflowservice.ResetActivityRequest{
		Namespace: devstack.Namespace, Execution: execution(run),
		Activity: &workflowservice.ResetActivityRequest_Id{Id: fanout.DeliverActivityID("a")},
	})
	require.NoError(r.T, err)
}

// attempts returns the attempts of which target a got requests for the event evt-1.
func (r *runs) attempts() (attempts []int) {
	for _, request := range r.Targets["a"].ByEvent("evt-1") {
		attempts = append(attempts, request.Attempt)
	}
	return attempts
}

// startAt starts the workers and brings a delivery to a stage.
func startAt(t *testing.T, s stage) (r *runs, run client.WorkflowRun, release func()) {
	r = start(t, oneTarget+s.settings)
	run, release = s.reach(r)
	require.Len(t, r.attempts(), s.before)
	return r, run, release
}

func TestOperator_APausedDeliverySendsNothingAndSucceedsAfterItIsUnpaused(t *testing.T) {
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, run, release := startAt(t, s)
			r.pauseDeliver(run)
			release()
			if !s.succeeds {
				r.awaitDeliver(run, enums.PENDING_ACTIVITY_STATE_PAUSED)
				r.completes(r.StartRun("evt-2")) // sent later, and delivered
				assert.Len(t, r.attempts(), s.before, "paused")
				r.unpauseDeliver(run)
			}
			r.completes(run)
			assert.Equal(t, s.attempts, r.attempts())
		})
	}
}

func TestOperator_AResetDeliverySucceedsAndSpendsNoAttempt(t *testing.T) {
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, run, release := startAt(t, s)
			r.resetDeliver(run)
			release()
			r.completes(run)
			assert.Equal(t, s.attempts, r.attempts())
		})
	}
}

// The run waits for a request in flight, because the target may still accept the event.
func TestOperator_TheDeadLetterOfACanceledDeliveryCountsItsRequests(t *testing.T) {
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r, run, release := startAt(t, s)
			r.cancel(run)
			if s.started { // otherwise Temporal cancels the activity at once
				r.awaitDeliver(run, enums.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED)
			}
			release()
			if s.succeeds {
				r.completes(run)
			} else {
				require.Error(t, r.endsIn(canceled, run))
				record := r.AwaitRecord("a", "evt-1")
				assert.Equal(t, event.ReasonCanceled, record.Reason)
				assert.Equal(t, s.before, record.Attempts)
			}
			assert.Len(t, r.attempts(), s.before)
		})
	}
}
