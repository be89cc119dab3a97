package workflows_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/target"
)

// fleet is an HTTP server for several targets, one for each path. A test may change their
// answers.
type fleet struct {
	mu       sync.Mutex
	statuses map[string]int // by target; 200 if there is none
	requests map[string][]string
}

func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := r.URL.Path[1:]
	f.requests[name] = append(f.requests[name], r.Header.Get("Idempotency-Key"))
	if status := f.statuses[name]; status != 0 {
		w.WriteHeader(status)
	}
}

func (f *fleet) answer(name string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses[name] = status
}

func (f *fleet) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests[name])
}

// counts returns the numbers of requests that a, b and c got.
func (f *fleet) counts() [3]int { return [3]int{f.count("a"), f.count("b"), f.count("c")} }

const threeTargets = `
  - {name: a, url: $URL/a}
  - {name: b, url: $URL/b, max_attempts: 100, retry_statuses: [429, 503], backoff: {initial: 1s, multiplier: 1}}
  - {name: c, url: $URL/c}
`

// startThree starts workers for the targets a, b and c. c rejects what it gets.
func startThree(t *testing.T) (*runs, *fleet) {
	t.Helper()
	f := &fleet{statuses: map[string]int{"c": http.StatusBadRequest}, requests: map[string][]string{}}
	return startFleet(t, f.ServeHTTP, threeTargets), f
}

// ended waits for the end of a run, and asserts that it replays.
func (r *runs) ended(run client.WorkflowRun) (enums.WorkflowExecutionStatus, error) {
	r.t.Helper()
	status := enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	await.True(r.t, "the end of a run", func() bool {
		described, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), run.GetRunID())
		require.NoError(r.t, err)
		status = described.GetWorkflowExecutionInfo().GetStatus()
		return status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	})
	err := run.Get(r.ctx, nil)
	r.replay(run.GetID(), run.GetRunID())
	return status, err
}

func (r *runs) completes(run client.WorkflowRun) {
	r.t.Helper()
	_, err := r.ended(run)
	require.NoError(r.t, err)
}

func (r *runs) endsIn(status enums.WorkflowExecutionStatus, run client.WorkflowRun) error {
	r.t.Helper()
	got, err := r.ended(run)
	require.Equal(r.t, status, got, "%v", err)
	return err
}

// open returns the targets with an open record of an event.
func (r *runs) open(id string) []string {
	r.t.Helper()
	open, err := r.tracker.OpenTargets(r.ctx, id)
	require.NoError(r.t, err)
	return open
}

// byHand starts a run as "Start Workflow Like This One" in Temporal UI does: with the same
// ID, type, queue and input, and with nothing else.
func (r *runs) byHand(workflowID string, in fanout.Input) client.WorkflowRun {
	r.t.Helper()
	return r.execute(client.StartWorkflowOptions{ID: workflowID, TaskQueue: r.queue, WorkflowExecutionErrorWhenAlreadyStarted: true}, in)
}

// under waits until b has got n requests, so that the run is under way.
func (r *runs) under(f *fleet, n int) {
	r.t.Helper()
	await.True(r.t, "requests at b", func() bool { return f.count("b") >= n })
}

// TestRerunOfASettledRun checks that a rerun makes only the outstanding deliveries and
// resolves their records. Once everything is delivered, another rerun sends nothing.
func TestRerunOfASettledRun(t *testing.T) {
	rerun := map[string]func(*runs, client.WorkflowRun) client.WorkflowRun{
		"reset": func(r *runs, run client.WorkflowRun) client.WorkflowRun { return r.reset(run, firstTask) },
		"by hand": func(r *runs, run client.WorkflowRun) client.WorkflowRun {
			return r.byHand(run.GetID(), r.input(hostileID))
		},
		"replay": func(r *runs, _ client.WorkflowRun) client.WorkflowRun {
			in := r.input(hostileID)
			return r.execute(fanout.ReplayOptions(in, r.queue, map[string]string{"c": r.tracker.ID()}), in)
		},
	}
	for name, again := range rerun {
		t.Run(name, func(t *testing.T) {
			r, f := startThree(t)
			first := r.start(hostileID)
			require.ErrorContains(t, r.endsIn(failed, first), "1 of 3 deliveries dead-lettered: c rejected after 1 attempt: 400 Bad Request")
			require.Equal(t, []string{"c"}, r.open(hostileID))

			second := again(r, first)
			require.ErrorContains(t, r.endsIn(failed, second), "1 of 1 deliveries dead-lettered: c rejected")
			record, err := r.tracker.Get("c", hostileID)
			require.NoError(t, err)
			assert.Equal(t, second.GetRunID(), record.RunID)
			assert.Equal(t, 1, record.Attempts, "of that run")

			f.answer("c", http.StatusOK)
			third := again(r, second)
			r.completes(third)
			assert.Empty(t, r.open(hostileID))
			fourth := again(r, third)
			r.completes(fourth)
			assert.Equal(t, [3]int{1, 1, 3}, f.counts())
			f.mu.Lock()
			defer f.mu.Unlock()
			key := event.Escape(hostileID)
			assert.Equal(t, []string{key, key, key}, f.requests["c"], "the same Idempotency-Key")
		})
	}
}

// hostileID is an event id that needs escaping everywhere.
const hostileID = "evt 1/ü:100%"

const (
	failed     = enums.WORKFLOW_EXECUTION_STATUS_FAILED
	canceled   = enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	terminated = enums.WORKFLOW_EXECUTION_STATUS_TERMINATED
)

// TestRerunOfAnUnsettledRun checks that every target gets the event again if the run before was
// terminated or ended by a reset, because deliveries of that run may be lost.
func TestRerunOfAnUnsettledRun(t *testing.T) {
	for name, again := range map[string]func(*runs, client.WorkflowRun) client.WorkflowRun{
		"terminated, reset": func(r *runs, run client.WorkflowRun) client.WorkflowRun {
			require.NoError(r.t, r.client.TerminateWorkflow(r.ctx, run.GetID(), run.GetRunID(), "a test"))
			return r.reset(run, firstTask)
		},
		"terminated, by hand": func(r *runs, run client.WorkflowRun) client.WorkflowRun {
			require.NoError(r.t, r.client.TerminateWorkflow(r.ctx, run.GetID(), run.GetRunID(), "a test"))
			return r.byHand(run.GetID(), r.input("evt-1"))
		},
		"running, reset": func(r *runs, run client.WorkflowRun) client.WorkflowRun { return r.reset(run, firstTask) },
	} {
		t.Run(name, func(t *testing.T) {
			r, f := startThree(t)
			f.answer("b", http.StatusServiceUnavailable)
			first := r.start("evt-1")
			r.recorded() // c
			r.under(f, 1)
			second := again(r, first)
			r.endsIn(terminated, first) //nolint:errcheck // that it was terminated is all there is to say
			await.True(t, "second requests at a and c", func() bool { return f.count("a") == 2 && f.count("c") == 2 })
			f.answer("b", http.StatusOK)
			require.ErrorContains(t, r.endsIn(failed, second), "c rejected")
			assert.Equal(t, []string{"c"}, r.open("evt-1"))
		})
	}
}

// TestByHandUnderAnotherID sends a delivered event again on purpose.
func TestByHandUnderAnotherID(t *testing.T) {
	r, f := startThree(t)
	f.answer("c", http.StatusOK)
	r.completes(r.start("evt-1"))
	r.completes(r.byHand("once-more", r.input("evt-1")))
	assert.Equal(t, [3]int{2, 2, 2}, f.counts())
}

// TestByHandWithQuotes checks that every target gets the event if its workflow ID contains
// quotes. Temporal cannot list the runs of such an ID, and a duplicate is better than a
// loss.
func TestByHandWithQuotes(t *testing.T) {
	const id = `it's"a\'b`
	r, f := startThree(t)
	first := r.start(id)
	require.Error(t, r.endsIn(failed, first))
	f.answer("c", http.StatusOK)
	r.completes(r.byHand(first.GetID(), r.input(id)))
	assert.Equal(t, [3]int{2, 2, 2}, f.counts())
	assert.Empty(t, r.open(id))
}

// TestReplayOfSomeTargets checks that a replay fails if it leaves records of other targets
// open, and that the replay of those targets completes.
func TestReplayOfSomeTargets(t *testing.T) {
	r, f := startThree(t)
	f.answer("a", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, r.start("evt-1")))
	f.answer("a", http.StatusOK)
	f.answer("c", http.StatusOK)
	replay := func(targets ...target.Policy) client.WorkflowRun {
		in := r.input("evt-1")
		in.Targets = targets
		return r.execute(fanout.ReplayOptions(in, r.queue, nil), in)
	}
	policies := r.input("evt-1").Targets
	err := r.endsIn(failed, replay(policies[0], policies[1]))
	require.ErrorContains(t, err, "dead letters of earlier runs stay open: c")
	assert.NotContains(t, err.Error(), "dead-lettered")
	assert.Equal(t, [3]int{2, 1, 1}, f.counts(), "b has no record, so it is not sent to")
	r.completes(replay(policies[2]))
	assert.Equal(t, [3]int{2, 1, 2}, f.counts())
	assert.Empty(t, r.open("evt-1"))
}

// TestADamagedRecordStaysOpen checks that a record which cannot be read is not moved and
// does not block the run. The run's failure names it.
func TestADamagedRecordStaysOpen(t *testing.T) {
	r, f := startThree(t)
	first := r.start("evt-1")
	require.Error(t, r.endsIn(failed, first))
	file := filepath.Join(r.dir, deadletter.FileName("c", "evt-1"))
	require.NoError(t, os.WriteFile(file, []byte(`{"event_id": "evt-1", half`), 0o600))
	f.answer("c", http.StatusOK)
	require.ErrorContains(t, r.endsIn(failed, r.reset(first, firstTask)), "dead letters of earlier runs stay open: c (delivered; resolve the dead letter c_evt-1.json")
	left, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `{"event_id": "evt-1", half`, string(left))
	assert.Equal(t, [3]int{1, 1, 2}, f.counts())
}

// TestCancelKeepsTheAttempts checks that the dead letter counts all attempts if the run is
// canceled between two attempts of the retry lane, and that a reset makes the delivery
// again.
func TestCancelKeepsTheAttempts(t *testing.T) {
	r, f := startThree(t)
	f.answer("b", http.StatusServiceUnavailable)
	run := r.start("evt-1")
	r.recorded() // c
	r.under(f, 4)
	require.Equal(t, fanout.StateRetrying, r.statuses(run)["b"].State)
	require.NoError(t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	require.Error(t, r.endsIn(canceled, run))
	record := r.recorded()
	assert.Equal(t, event.ReasonCanceled, record.Reason)
	assert.Equal(t, f.count("b"), record.Attempts)
	assert.Equal(t, http.StatusServiceUnavailable, record.StatusCode)
	assert.Contains(t, record.Error, "the run was canceled; 503 Service Unavailable")
	assert.Equal(t, []string{"b", "c"}, r.open("evt-1"))

	f.answer("b", http.StatusOK)
	f.answer("c", http.StatusOK)
	r.completes(r.reset(run, firstTask))
	assert.Equal(t, 1, f.count("a"))
	assert.Empty(t, r.open("evt-1"))
}

// TestCancelWhileTheTrackerIsAway checks that a run records its outstanding deliveries even
// if it is canceled before it knows which ones they are.
func TestCancelWhileTheTrackerIsAway(t *testing.T) {
	r, _ := startThree(t)
	first := r.start("evt-1")
	require.Error(t, r.endsIn(failed, first))
	before := r.recorded()
	r.records.Stop()
	second := r.reset(first, firstTask)
	await.True(t, "the question to the tracker", func() bool {
		described, err := r.client.DescribeWorkflowExecution(r.ctx, second.GetID(), second.GetRunID())
		return err == nil && len(described.GetPendingActivities()) == 1
	})
	assert.Equal(t, fanout.StateWaiting, r.statuses(second)["c"].State, "it answers all the same")
	require.NoError(t, r.client.CancelWorkflow(r.ctx, second.GetID(), second.GetRunID()))
	again := r.process.DeadLetterWorker()
	require.NoError(t, again.Start())
	t.Cleanup(again.Stop)
	require.Error(t, r.endsIn(canceled, second))
	after := r.recorded()
	assert.Equal(t, "c", after.TargetName)
	assert.Equal(t, event.ReasonCanceled, after.Reason)
	assert.NotEqual(t, before.RunID, after.RunID)
	assert.FileExists(t, filepath.Join(r.dir, "superseded", deadletter.FileName("c", "evt-1")))
}

// TestResetToEachTask checks that a run replays and ends, whichever workflow task it is
// reset to.
func TestResetToEachTask(t *testing.T) {
	r, f := startThree(t)
	f.answer("b", http.StatusServiceUnavailable)
	run := r.start("evt-1")
	r.under(f, 2)
	f.answer("b", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, run))
	f.answer("b", http.StatusOK)
	f.answer("c", http.StatusOK)
	var tasks []int64
	history := r.client.GetWorkflowHistory(r.ctx, run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		require.NoError(t, err)
		if e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_STARTED {
			tasks = append(tasks, e.GetEventId())
		}
	}
	require.GreaterOrEqual(t, len(tasks), 3)
	for i := range tasks {
		reset := r.reset(run, tasks[len(tasks)-1-i])
		status, err := r.ended(reset)
		t.Logf("reset to task %d of %d: %s: %v; open: %v, requests: %v", len(tasks)-i, len(tasks), status, err, r.open("evt-1"), f.counts())
	}
	assert.Empty(t, r.open("evt-1"), "the first task at the latest")
	assert.Equal(t, 1, f.count("a"))
}

// TestTheStateIsTold checks the states that the query returns and that Temporal UI shows
// beside a run.
func TestTheStateIsTold(t *testing.T) {
	r, f := startThree(t)
	f.answer("b", http.StatusServiceUnavailable)
	run := r.start("evt-1")
	r.recorded() // c
	r.under(f, 2)
	var told map[string]fanout.DeliveryStatus
	await.True(t, "the state of c", func() bool {
		told = r.statuses(run)
		return told["c"].State == fanout.StateDeadLetter
	})
	assert.Equal(t, fanout.DeliveryStatus{Target: "a", State: fanout.StateDelivered, Attempts: 1, StatusCode: 200}, told["a"])
	assert.Equal(t, fanout.DeliveryStatus{Target: "b", State: fanout.StateRetrying, Attempts: 1, StatusCode: 503, Error: "503 Service Unavailable"}, told["b"])
	assert.Equal(t, fanout.DeliveryStatus{Target: "c", State: fanout.StateDeadLetter, Reason: event.ReasonRejected, Attempts: 1, StatusCode: 400, Error: "400 Bad Request"}, told["c"])

	value, err := r.client.QueryWorkflow(r.ctx, run.GetID(), run.GetRunID(), "__temporal_workflow_metadata")
	require.NoError(t, err)
	var metadata sdk.WorkflowMetadata
	require.NoError(t, value.Get(&metadata))
	assert.Equal(t, "- delivered: a\n- retrying: b after attempt 1: 503 Service Unavailable; activity deliver-b tells its attempts\n"+
		"- dead letter: c rejected after 1 attempt: 400 Bad Request\n", metadata.GetCurrentDetails())
	described, err := r.client.DescribeWorkflow(r.ctx, run.GetID(), run.GetRunID())
	require.NoError(t, err)
	summary, err := described.GetStaticSummary()
	require.NoError(t, err)
	assert.Equal(t, "conversation.started", summary)
	details, err := described.GetStaticDetails()
	require.NoError(t, err)
	assert.Contains(t, details, "event `evt-1`")

	f.answer("b", http.StatusOK)
	require.Error(t, r.endsIn(failed, run))
	assert.Equal(t, fanout.StateDelivered, r.statuses(run)["b"].State, "of a closed run too")
}

func (r *runs) statuses(run client.WorkflowRun) map[string]fanout.DeliveryStatus {
	r.t.Helper()
	value, err := r.client.QueryWorkflow(r.ctx, run.GetID(), run.GetRunID(), fanout.QueryDeliveries)
	require.NoError(r.t, err)
	var statuses []fanout.DeliveryStatus
	require.NoError(r.t, value.Get(&statuses))
	told := make(map[string]fanout.DeliveryStatus)
	for _, one := range statuses {
		told[one.Target] = one
	}
	return told
}
