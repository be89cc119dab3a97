package workflows_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/target"
)

// hostileID is an event id that needs escaping everywhere.
const hostileID = "evt 1/ü:100%"

// TestRerun_MakesOnlyTheOutstandingDeliveries checks that a rerun of a run that settled all its
// deliveries sends only to targets with an open record, and resolves their records. Once
// everything is delivered, another rerun sends nothing.
func TestRerun_MakesOnlyTheOutstandingDeliveries(t *testing.T) {
	for name, rerun := range map[string]func(*runs, client.WorkflowRun) client.WorkflowRun{
		"reset": func(r *runs, run client.WorkflowRun) client.WorkflowRun { return r.reset(run, firstTask) },
		"by hand": func(r *runs, run client.WorkflowRun) client.WorkflowRun {
			return r.startByHand(run.GetID(), r.Input(hostileID))
		},
		"replay": func(r *runs, _ client.WorkflowRun) client.WorkflowRun {
			return r.replay(r.Input(hostileID), map[string]string{"c": r.Tracker.ID()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startThree(t)
			first := r.StartRun(hostileID)
			require.ErrorContains(t, r.endsIn(failed, first), "1 of 3 deliveries dead-lettered: c rejected after 1 attempt: 400 Bad Request")
			require.Equal(t, []string{"c"}, r.openRecords(hostileID))

			second := rerun(r, first)
			require.ErrorContains(t, r.endsIn(failed, second), "1 of 1 deliveries dead-lettered: c rejected")
			record, err := r.Tracker.Get("c", hostileID)
			require.NoError(t, err)
			assert.Equal(t, second.GetRunID(), record.RunID)
			assert.Equal(t, 1, record.Attempts, "of that run")

			r.Answer("c", http.StatusOK)
			third := rerun(r, second)
			r.completes(third)
			assert.Empty(t, r.openRecords(hostileID))
			fourth := rerun(r, third)
			r.completes(fourth)
			assert.Equal(t, [3]int{1, 1, 3}, r.requests())
			for _, request := range r.Targets["c"].Requests() {
				assert.Equal(t, event.Escape(hostileID), request.Header.Get("Idempotency-Key"), "the same in each run")
			}
		})
	}
}

// TestRerun_SendsToEveryTargetIfTheRunBeforeWasCutShort: deliveries of a run that was
// terminated or ended by a reset may be lost.
func TestRerun_SendsToEveryTargetIfTheRunBeforeWasCutShort(t *testing.T) {
	terminate := func(r *runs, run client.WorkflowRun) {
		require.NoError(r.T, r.Client.TerminateWorkflow(r.Ctx, run.GetID(), run.GetRunID(), "a test"))
	}
	for name, rerun := range map[string]func(*runs, client.WorkflowRun) client.WorkflowRun{
		"terminated, reset": func(r *runs, run client.WorkflowRun) client.WorkflowRun {
			terminate(r, run)
			return r.reset(run, firstTask)
		},
		"terminated, by hand": func(r *runs, run client.WorkflowRun) client.WorkflowRun {
			terminate(r, run)
			return r.startByHand(run.GetID(), r.Input("evt-1"))
		},
		"running, reset": func(r *runs, run client.WorkflowRun) client.WorkflowRun { return r.reset(run, firstTask) },
	} {
		t.Run(name, func(t *testing.T) {
			r := startThree(t)
			r.Answer("b", http.StatusServiceUnavailable)
			first := r.StartRun("evt-1")
			r.AwaitRecord("c", "evt-1")
			r.awaitRequests("b", 1)
			second := rerun(r, first)
			require.Error(t, r.endsIn(terminated, first))
			r.awaitRequests("a", 2)
			r.awaitRequests("c", 2)
			r.Answer("b", http.StatusOK)
			require.ErrorContains(t, r.endsIn(failed, second), "c rejected")
			assert.Equal(t, []string{"c"}, r.openRecords("evt-1"))
		})
	}
}

// TestStartByHand_UnderAnotherIDSendsADeliveredEventAgain, because the user asks for that on
// purpose.
func TestStartByHand_UnderAnotherIDSendsADeliveredEventAgain(t *testing.T) {
	r := startThree(t)
	r.Answer("c", http.StatusOK)
	r.completes(r.StartRun("evt-1"))
	r.completes(r.startByHand("once-more", r.Input("evt-1")))
	assert.Equal(t, [3]int{2, 2, 2}, r.requests())
}

// TestStartByHand_SendsToEveryTargetIfTheIDHasQuotes: Temporal cannot list the runs of such an
// ID, and a duplicate is better than a loss.
func TestStartByHand_SendsToEveryTargetIfTheIDHasQuotes(t *testing.T) {
	const id = `it's"a\'b`
	r := startThree(t)
	first := r.StartRun(id)
	require.Error(t, r.endsIn(failed, first))
	r.Answer("c", http.StatusOK)
	r.completes(r.startByHand(first.GetID(), r.Input(id)))
	assert.Equal(t, [3]int{2, 2, 2}, r.requests())
	assert.Empty(t, r.openRecords(id))
}

// TestReplay_OfSomeTargetsFailsWhileOthersHaveOpenRecords checks that a replay fails if it
// leaves records of other targets open, and that the replay of those targets completes.
func TestReplay_OfSomeTargetsFailsWhileOthersHaveOpenRecords(t *testing.T) {
	r := startThree(t)
	r.Answer("a", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, r.StartRun("evt-1")))
	r.Answer("a", http.StatusOK)
	r.Answer("c", http.StatusOK)
	replay := func(targets ...target.Policy) client.WorkflowRun {
		in := r.Input("evt-1")
		in.Targets = targets
		return r.replay(in, nil)
	}
	policies := r.Input("evt-1").Targets
	err := r.endsIn(failed, replay(policies[0], policies[1]))
	require.ErrorContains(t, err, "dead letters of earlier runs stay open: c")
	assert.NotContains(t, err.Error(), "dead-lettered")
	assert.Equal(t, [3]int{2, 1, 1}, r.requests(), "b has no record, so nothing is sent to it")
	r.completes(replay(policies[2]))
	assert.Equal(t, [3]int{2, 1, 2}, r.requests())
	assert.Empty(t, r.openRecords("evt-1"))
}

// TestRerun_LeavesADamagedRecordInPlace checks that a record which cannot be read is not moved
// and does not block the run. The run's failure names it.
func TestRerun_LeavesADamagedRecordInPlace(t *testing.T) {
	r := startThree(t)
	first := r.StartRun("evt-1")
	require.Error(t, r.endsIn(failed, first))
	file := r.Tracker.File("c", "evt-1")
	require.NoError(t, os.WriteFile(file, []byte(`{"event_id": "evt-1", half`), 0o600))
	r.Answer("c", http.StatusOK)
	require.ErrorContains(t, r.endsIn(failed, r.reset(first, firstTask)), "dead letters of earlier runs stay open: c (delivered; resolve the dead letter c_evt-1.json")
	left, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `{"event_id": "evt-1", half`, string(left))
	assert.Equal(t, [3]int{1, 1, 2}, r.requests())
}

// TestCancel_TheDeadLetterCountsAllAttempts checks that the dead letter counts all attempts if
// the run is canceled between two attempts of the retry lane, and that a reset makes the
// delivery again.
func TestCancel_TheDeadLetterCountsAllAttempts(t *testing.T) {
	r := startThree(t)
	r.Answer("b", http.StatusServiceUnavailable)
	run := r.StartRun("evt-1")
	r.AwaitRecord("c", "evt-1")
	r.awaitRequests("b", 4)
	require.Equal(t, fanout.StateRetrying, r.statuses(run)["b"].State)
	r.cancel(run)
	require.Error(t, r.endsIn(canceled, run))
	record := r.AwaitRecord("b", "evt-1")
	assert.Equal(t, event.ReasonCanceled, record.Reason)
	assert.Equal(t, r.Targets["b"].Count(), record.Attempts)
	assert.Equal(t, http.StatusServiceUnavailable, record.StatusCode)
	assert.Contains(t, record.Error, "the run was canceled; 503 Service Unavailable")
	assert.Equal(t, []string{"b", "c"}, r.openRecords("evt-1"))

	r.Answer("b", http.StatusOK)
	r.Answer("c", http.StatusOK)
	r.completes(r.reset(run, firstTask))
	assert.Equal(t, 1, r.Targets["a"].Count())
	assert.Empty(t, r.openRecords("evt-1"))
}

// TestCancel_RecordsTheDeliveriesAlthoughTheTrackerIsAway checks that a rerun records its
// outstanding deliveries even if it is canceled before it knows which ones they are.
func TestCancel_RecordsTheDeliveriesAlthoughTheTrackerIsAway(t *testing.T) {
	r := startThree(t)
	first := r.StartRun("evt-1")
	require.Error(t, r.endsIn(failed, first))
	before := r.AwaitRecord("c", "evt-1")
	r.StopDeadLetters()
	second := r.reset(first, firstTask)
	await.True(t, "the question to the tracker", func() bool {
		described, err := r.Client.DescribeWorkflowExecution(r.Ctx, second.GetID(), second.GetRunID())
		return err == nil && len(described.GetPendingActivities()) == 1
	})
	assert.Equal(t, fanout.StateWaiting, r.statuses(second)["c"].State, "the query is answered meanwhile")
	r.cancel(second)
	r.StartDeadLetters()
	require.Error(t, r.endsIn(canceled, second))
	after := r.AwaitRecord("c", "evt-1")
	assert.Equal(t, event.ReasonCanceled, after.Reason)
	assert.NotEqual(t, before.RunID, after.RunID)
	assert.FileExists(t, filepath.Join(r.Tracker.Path(deadletter.Superseded), deadletter.FileName("c", "evt-1")))
}

// TestReset_ToEachWorkflowTask checks that a run replays and ends, whichever workflow task it
// is reset to.
func TestReset_ToEachWorkflowTask(t *testing.T) {
	r := startThree(t)
	r.Answer("b", http.StatusServiceUnavailable)
	run := r.StartRun("evt-1")
	r.awaitRequests("b", 2)
	r.Answer("b", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, run))
	r.Answer("b", http.StatusOK)
	r.Answer("c", http.StatusOK)
	tasks := r.startedTasks(run)
	require.GreaterOrEqual(t, len(tasks), 3)
	for _, task := range slices.Backward(tasks) {
		status, err := r.AwaitEnd(r.reset(run, task))
		t.Logf("reset to task %d: %s: %v; open: %v, requests: %v", task, status, err, r.openRecords("evt-1"), r.requests())
	}
	assert.Empty(t, r.openRecords("evt-1"), "the reset to the first task, which comes last, leaves none")
	assert.Equal(t, 1, r.Targets["a"].Count())
}

// TestState_IsShownByTheQueryAndInTheDetails checks the states that the query returns and that
// Temporal UI shows beside a run.
func TestState_IsShownByTheQueryAndInTheDetails(t *testing.T) {
	r := startThree(t)
	r.Answer("b", http.StatusServiceUnavailable)
	run := r.StartRun("evt-1")
	r.AwaitRecord("c", "evt-1")
	r.awaitRequests("b", 2)
	var statuses map[string]fanout.DeliveryStatus
	await.True(t, "the state of c", func() bool {
		statuses = r.statuses(run)
		return statuses["c"].State == fanout.StateDeadLetter
	})
	assert.Equal(t, fanout.DeliveryStatus{Target: "a", State: fanout.StateDelivered, Attempts: 1, StatusCode: 200}, statuses["a"])
	assert.Equal(t, fanout.DeliveryStatus{Target: "b", State: fanout.StateRetrying, Attempts: 1, StatusCode: 503, Error: "503 Service Unavailable"}, statuses["b"])
	assert.Equal(t, fanout.DeliveryStatus{
		Target: "c", State: fanout.StateDeadLetter, Reason: event.ReasonRejected, Attempts: 1, StatusCode: 400, Error: "400 Bad Request",
	}, statuses["c"])

	value, err := r.Client.QueryWorkflow(r.Ctx, run.GetID(), run.GetRunID(), "__temporal_workflow_metadata")
	require.NoError(t, err)
	var metadata sdk.WorkflowMetadata
	require.NoError(t, value.Get(&metadata))
	assert.Equal(t, `- delivered: a
- retrying: b after attempt 1: 503 Service Unavailable; activity deliver-b shows its attempts
- dead letter: c rejected after 1 attempt: 400 Bad Request
`, metadata.GetCurrentDetails())
	described, err := r.Client.DescribeWorkflow(r.Ctx, run.GetID(), run.GetRunID())
	require.NoError(t, err)
	summary, err := described.GetStaticSummary()
	require.NoError(t, err)
	assert.Equal(t, "conversation.started", summary)
	details, err := described.GetStaticDetails()
	require.NoError(t, err)
	assert.Contains(t, details, "event `evt-1`")

	r.Answer("b", http.StatusOK)
	require.Error(t, r.endsIn(failed, run))
	assert.Equal(t, fanout.StateDelivered, r.statuses(run)["b"].State, "of a closed run too")
}
