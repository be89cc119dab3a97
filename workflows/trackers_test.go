package workflows_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/queues"
)

// health keeps the last report of each health check.
type health struct {
	mu      sync.Mutex
	reports map[string]error
}

func (h *health) Set(check string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports[check] = err
}

func (h *health) of(check string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reports[check]
}

// tracker is a tracker with the worker of a process of its own.
type tracker struct {
	*deadletter.Tracker
	health  *health
	workers queues.Config
	stop    func()
}

func (r *runs) newTracker() *tracker {
	r.T.Helper()
	directory, err := deadletter.Open(r.T.TempDir())
	require.NoError(r.T, err)
	k := &tracker{Tracker: directory, health: &health{reports: make(map[string]error)}, stop: func() {}}
	k.workers = r.NewWorkers(directory, k.health)
	return k
}

// startTwoTrackers starts workers for the targets a, b and c, and returns two trackers whose
// workers are not started yet.
func startTwoTrackers(t *testing.T) (r *runs, first, second *tracker) {
	t.Helper()
	r = startThree(t)
	r.StopDeadLetters()
	return r, r.newTracker(), r.newTracker()
}

func (r *runs) serve(k *tracker) {
	r.T.Helper()
	k.stop = r.StartWorker(k.workers.DeadLetterWorker())
}

// openRecords returns the targets with an open record of evt-1.
func (k *tracker) openRecords(t *testing.T) []string {
	t.Helper()
	open, err := k.OpenTargets(t.Context(), "evt-1")
	require.NoError(t, err)
	return open
}

// awaitRecord waits until the tracker has an open record of evt-1 for a target.
func (k *tracker) awaitRecord(t *testing.T, target string) {
	t.Helper()
	await.True(t, "the dead letter of "+target, func() bool { _, err := k.Get(target, "evt-1"); return err == nil })
}

// awaitOtherTrackerReported waits until the wrong worker has reported that a task needs another
// tracker.
func awaitOtherTrackerReported(t *testing.T, wrong, right *tracker) {
	t.Helper()
	await.True(t, "the worker with another tracker to be not ready", func() bool { return wrong.health.of(activities.CheckOtherTracker) != nil })
	message := wrong.health.of(activities.CheckOtherTracker).Error()
	assert.Contains(t, message, wrong.ID())
	assert.Contains(t, message, right.ID())
	assert.Contains(t, message, wrong.String())
}

// trackersLeft returns the trackers that the details of a run's end name, by target.
func (r *runs) trackersLeft(run client.WorkflowRun) map[string]string {
	r.T.Helper()
	ending, err := r.History.Ending(r.Ctx, run.GetID(), run.GetRunID())
	require.NoError(r.T, err)
	require.True(r.T, ending.Settled)
	return ending.Trackers
}

// TestOtherTracker_NeitherAnswersNorClosesARecord checks a worker whose tracker does not have
// the record, whichever way the event is run again.
func TestOtherTracker_NeitherAnswersNorClosesARecord(t *testing.T) {
	for name, rerun := range map[string]func(*runs, client.WorkflowRun, *tracker) client.WorkflowRun{
		"reset": func(r *runs, run client.WorkflowRun, _ *tracker) client.WorkflowRun { return r.reset(run, firstTask) },
		"by hand": func(r *runs, run client.WorkflowRun, _ *tracker) client.WorkflowRun {
			return r.startByHand(run.GetID(), r.Input("evt-1"))
		},
		"replay": func(r *runs, _ client.WorkflowRun, right *tracker) client.WorkflowRun {
			return r.replay(r.Input("evt-1"), map[string]string{"c": right.ID()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, right, wrong := startTwoTrackers(t)
			r.serve(right)
			first := r.StartRun("evt-1")
			require.Error(t, r.endsIn(failed, first))
			assert.Equal(t, map[string]string{"c": right.ID()}, r.trackersLeft(first))

			right.stop()
			r.serve(wrong)
			second := rerun(r, first, right)
			awaitOtherTrackerReported(t, wrong, right)
			r.serve(right)
			require.Error(t, r.endsIn(failed, second)) // it is rejected again
			assert.Equal(t, [3]int{1, 1, 2}, r.requests())
			assert.Empty(t, wrong.openRecords(t), "a delivery has one open record")
			record, err := right.Get("c", "evt-1")
			require.NoError(t, err)
			assert.Equal(t, second.GetRunID(), record.RunID)
			assert.Equal(t, map[string]string{"c": right.ID()}, r.trackersLeft(second))

			r.Answer("c", http.StatusOK)
			r.completes(rerun(r, second, right))
			assert.Equal(t, [3]int{1, 1, 3}, r.requests())
			assert.Empty(t, right.openRecords(t))
			assert.NoError(t, right.health.of(activities.CheckOtherTracker))
		})
	}
}

// TestTwoTrackers_BothHaveRecordsOfOneEvent checks that a run asks each tracker for the records
// that it has, and that a run which leaves a record open names the record's tracker for the next
// run.
func TestTwoTrackers_BothHaveRecordsOfOneEvent(t *testing.T) {
	r, ofC, ofB := startTwoTrackers(t)
	r.Answer("b", http.StatusServiceUnavailable)
	r.serve(ofC)
	first := r.StartRun("evt-1")
	ofC.awaitRecord(t, "c")
	r.awaitRequests("b", 1)
	ofC.stop()
	r.Answer("b", http.StatusBadRequest)
	r.serve(ofB)
	require.Error(t, r.endsIn(failed, first))
	assert.Equal(t, map[string]string{"c": ofC.ID(), "b": ofB.ID()}, r.trackersLeft(first))
	requests := r.Targets["b"].Count()

	r.serve(ofC)
	r.Answer("b", http.StatusOK)
	second := r.reset(first, firstTask)
	require.ErrorContains(t, r.endsIn(failed, second), "1 of 2 deliveries dead-lettered: c rejected")
	assert.Equal(t, map[string]string{"c": ofC.ID()}, r.trackersLeft(second))
	assert.Equal(t, [3]int{1, requests + 1, 2}, r.requests())

	r.Answer("b", http.StatusBadRequest)
	third := r.startByHand("another-id", r.Input("evt-1")) // sends to all targets
	require.Error(t, r.endsIn(failed, third))
	r.Answer("b", http.StatusOK)
	r.Answer("c", http.StatusOK)
	replay := func(target int, before client.WorkflowRun) client.WorkflowRun {
		in := r.Input("evt-1")
		in.Targets = in.Targets[target : target+1]
		return r.replay(in, r.trackersLeft(before))
	}
	fourth := replay(1, second) // sends to b, and still names the tracker of c's open record
	require.ErrorContains(t, r.endsIn(failed, fourth), "dead letters of earlier runs stay open: ")
	assert.Equal(t, ofC.ID(), r.trackersLeft(fourth)["c"])
	r.completes(replay(2, fourth))
}

// TestOtherTracker_OfARunThatWasCutShort checks that the records of a run that was terminated
// are found in its history.
func TestOtherTracker_OfARunThatWasCutShort(t *testing.T) {
	r, right, wrong := startTwoTrackers(t)
	r.Answer("b", http.StatusServiceUnavailable)
	r.serve(right)
	first := r.StartRun("evt-1")
	right.awaitRecord(t, "c")
	r.awaitRequests("b", 1)
	r.Answer("c", http.StatusOK)
	r.Answer("b", http.StatusOK)
	right.stop()
	r.serve(wrong)
	require.NoError(t, r.Client.TerminateWorkflow(r.Ctx, first.GetID(), first.GetRunID(), "a test"))
	second := r.reset(first, firstTask)
	awaitOtherTrackerReported(t, wrong, right)
	r.serve(right)
	r.completes(second)
	assert.Empty(t, right.openRecords(t), "the second run delivered to c")
	assert.Equal(t, 2, r.Targets["c"].Count())
}

// TestOtherTracker_OfARerunThatGotNoAnswer: a rerun that waits for the right worker may be reset
// itself. It has recorded nothing, so the run before it says which tracker has which record.
func TestOtherTracker_OfARerunThatGotNoAnswer(t *testing.T) {
	r, right, wrong := startTwoTrackers(t)
	r.serve(right)
	first := r.StartRun("evt-1")
	require.Error(t, r.endsIn(failed, first))
	r.Answer("c", http.StatusOK)
	right.stop()
	r.serve(wrong)
	second := r.reset(first, firstTask)
	awaitOtherTrackerReported(t, wrong, right)
	third := r.reset(second, firstTask)
	wrong.health.Set(activities.CheckOtherTracker, nil)
	awaitOtherTrackerReported(t, wrong, right)
	r.serve(right)
	r.completes(third)
	assert.Empty(t, right.openRecords(t), "the third run delivered to c")
	assert.Equal(t, 2, r.Targets["c"].Count())
}

// TestOtherTracker_OfAResetToALaterPoint covers a rerun that does not call Outstanding.
func TestOtherTracker_OfAResetToALaterPoint(t *testing.T) {
	r, right, wrong := startTwoTrackers(t)
	r.Answer("c", http.StatusOK)
	r.Answer("b", http.StatusServiceUnavailable)
	r.serve(right)
	first := r.StartRun("evt-1")
	r.awaitRequests("b", 2)
	r.Answer("b", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, first))
	tasks := r.startedTasks(first)
	require.Greater(t, len(tasks), 1)
	right.stop()
	r.serve(wrong)
	second := r.reset(first, tasks[1]) // after the first attempts and before the end of b's delivery
	awaitOtherTrackerReported(t, wrong, right)
	r.serve(right)
	status, err := r.AwaitEnd(second)
	t.Logf("%s: %v", status, err)
	assert.Empty(t, wrong.openRecords(t), "a delivery has one open record, in the tracker that has it")
	assert.Equal(t, map[string]string{"b": right.ID()}, r.trackersLeft(second))
}

// TestOtherTracker_OfACanceledRun checks that the cancellation's details name the tracker of
// each record.
func TestOtherTracker_OfACanceledRun(t *testing.T) {
	r, right, wrong := startTwoTrackers(t)
	r.Answer("b", http.StatusServiceUnavailable)
	r.serve(right)
	first := r.StartRun("evt-1")
	right.awaitRecord(t, "c")
	r.awaitRequests("b", 1)
	r.cancel(first)
	require.Error(t, r.endsIn(canceled, first))
	assert.Equal(t, map[string]string{"b": right.ID(), "c": right.ID()}, r.trackersLeft(first))
	r.Answer("b", http.StatusOK)
	r.Answer("c", http.StatusOK)
	right.stop()
	r.serve(wrong)
	second := r.reset(first, firstTask)
	awaitOtherTrackerReported(t, wrong, right)
	r.serve(right)
	r.completes(second)
	assert.Empty(t, right.openRecords(t))
}

// TestTrackerMovedIntoAnother checks that a tracker answers for the records of another tracker
// if its .tracker file names that tracker as moved into it.
func TestTrackerMovedIntoAnother(t *testing.T) {
	r, from, to := startTwoTrackers(t)
	r.serve(from)
	first := r.StartRun("evt-1")
	require.Error(t, r.endsIn(failed, first))
	from.stop()
	require.NoError(t, os.Rename(from.File("c", "evt-1"), to.File("c", "evt-1")))
	identities := filepath.Join(filepath.Dir(to.File("c", "evt-1")), ".tracker")
	require.NoError(t, os.WriteFile(identities, []byte(to.ID()+"\n"+from.ID()+"\n"), 0o600))
	r.Answer("c", http.StatusOK)
	r.serve(to)
	r.completes(r.reset(first, firstTask))
	assert.Empty(t, to.openRecords(t))
	assert.Equal(t, 2, r.Targets["c"].Count())
}

// TestDetails_NameTheTrackerOfHundredTargets checks that the details of 100 targets with long
// names fit.
func TestDetails_NameTheTrackerOfHundredTargets(t *testing.T) {
	r := start(t, hundredTargets(40, ""))
	r.Answer("all", http.StatusBadRequest)
	run := r.StartRun("evt-1")
	require.Error(t, r.endsIn(failed, run))
	assert.Len(t, r.trackersLeft(run), 100)
}
