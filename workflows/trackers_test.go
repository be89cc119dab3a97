package workflows_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/history"
	"genesys-fanout/internal/queues"
)

// checks keeps the last report of each health check.
type checks struct {
	mu sync.Mutex
	by map[string]error
}

func (c *checks) Set(check string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[check] = err
}

func (c *checks) of(check string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[check]
}

// desk is a worker of the queue of dead letters that has its own tracker.
type desk struct {
	tracker tracker
	health  *checks
	process queues.Config
	worker  *queues.Worker // nil while it is stopped
}

func (r *runs) newDesk() *desk {
	r.t.Helper()
	directory, err := deadletter.Open(r.t.TempDir())
	require.NoError(r.t, err)
	d := &desk{tracker: tracker{directory, make(chan deadletter.Record, 100)}, health: &checks{by: make(map[string]error)}}
	quiet := slog.New(slog.DiscardHandler)
	reader := history.Reader{Client: r.client, Namespace: devstack.Namespace, DataConverter: fanout.DataConverter()}
	acts := activities.New(activities.Options{Targets: r.targets, Tracker: d.tracker, Health: d.health, Logger: quiet, Messages: reader, Runs: reader})
	d.process = queues.Config{Client: r.client, TaskQueue: r.queue, Targets: r.targets, Activities: acts, Log: quiet}
	return d
}

// serveAlone stops all desks and then starts only those of serving.
func (r *runs) serveAlone(all []*desk, serving ...*desk) {
	r.t.Helper()
	for _, d := range all {
		if d.worker != nil {
			d.worker.Stop()
			d.worker = nil
		}
	}
	for _, d := range serving {
		d.worker = d.process.DeadLetterWorker()
		require.NoError(r.t, d.worker.Start())
	}
}

// startDesks starts workers for the targets a, b and c, and returns two desks that are not
// started yet.
func startDesks(t *testing.T) (r *runs, f *fleet, desks []*desk) {
	t.Helper()
	r, f = startThree(t)
	r.records.Stop()
	desks = []*desk{r.newDesk(), r.newDesk()}
	t.Cleanup(func() { r.serveAlone(desks) })
	return r, f, desks
}

// open returns the targets with an open record of evt-1.
func (d *desk) open(t *testing.T) []string {
	t.Helper()
	open, err := d.tracker.OpenTargets(t.Context(), "evt-1")
	require.NoError(t, err)
	return open
}

// waitForOther waits until the wrong worker has reported that a task needs another tracker.
func (r *runs) waitForOther(wrong, right *desk) {
	r.t.Helper()
	await.True(r.t, "the worker with another tracker to be not ready", func() bool { return wrong.health.of(activities.CheckOtherTracker) != nil })
	message := wrong.health.of(activities.CheckOtherTracker).Error()
	assert.Contains(r.t, message, wrong.tracker.ID())
	assert.Contains(r.t, message, right.tracker.ID())
	assert.Contains(r.t, message, wrong.tracker.String())
}

// left returns the trackers that the details of a run's end name, by target.
func (r *runs) left(run client.WorkflowRun) map[string]string {
	r.t.Helper()
	reader := history.Reader{Client: r.client, DataConverter: fanout.DataConverter()}
	before, err := reader.Ending(r.ctx, run.GetID(), run.GetRunID())
	require.NoError(r.t, err)
	require.True(r.t, before.Settled)
	return before.Trackers
}

// TestOtherTracker_AnswersNothing checks that a worker neither answers for a record nor
// closes it if its tracker does not have the record, whichever way the event is run again.
func TestOtherTracker_AnswersNothing(t *testing.T) {
	rerun := map[string]func(*runs, client.WorkflowRun, *desk) client.WorkflowRun{
		"reset": func(r *runs, run client.WorkflowRun, _ *desk) client.WorkflowRun { return r.reset(run, firstTask) },
		"by hand": func(r *runs, run client.WorkflowRun, _ *desk) client.WorkflowRun {
			return r.byHand(run.GetID(), r.input("evt-1"))
		},
		"replay": func(r *runs, _ client.WorkflowRun, holder *desk) client.WorkflowRun {
			in := r.input("evt-1")
			return r.execute(fanout.ReplayOptions(in, r.queue, map[string]string{"c": holder.tracker.ID()}), in)
		},
	}
	for name, again := range rerun {
		t.Run(name, func(t *testing.T) {
			r, f, desks := startDesks(t)
			right, wrong := desks[0], desks[1]
			r.serveAlone(desks, right)
			first := r.start("evt-1")
			require.Error(t, r.endsIn(failed, first))
			assert.Equal(t, map[string]string{"c": right.tracker.ID()}, r.left(first))

			r.serveAlone(desks, wrong)
			second := again(r, first, right)
			r.waitForOther(wrong, right)
			r.serveAlone(desks, right, wrong)
			require.Error(t, r.endsIn(failed, second)) // it is rejected again
			assert.Equal(t, [3]int{1, 1, 2}, f.counts())
			assert.Empty(t, wrong.open(t), "a delivery has one open record")
			record, err := right.tracker.Get("c", "evt-1")
			require.NoError(t, err)
			assert.Equal(t, second.GetRunID(), record.RunID)
			assert.Equal(t, map[string]string{"c": right.tracker.ID()}, r.left(second))

			f.answer("c", http.StatusOK)
			r.completes(again(r, second, right))
			assert.Equal(t, [3]int{1, 1, 3}, f.counts())
			assert.Empty(t, right.open(t))
			assert.NoError(t, right.health.of(activities.CheckOtherTracker))
		})
	}
}

// TestOtherTracker_RecordsOfOneEventInBoth checks that a run asks each tracker for the
// records that it has, and that a run which leaves a record open names the record's tracker
// for the next run.
func TestOtherTracker_RecordsOfOneEventInBoth(t *testing.T) {
	r, f, desks := startDesks(t)
	f.answer("b", http.StatusServiceUnavailable)
	r.serveAlone(desks, desks[0])
	first := r.start("evt-1")
	await.True(t, "one open record", func() bool { return len(desks[0].open(t)) == 1 })
	r.under(f, 1)
	f.answer("b", http.StatusBadRequest)
	r.serveAlone(desks, desks[1])
	require.Error(t, r.endsIn(failed, first))
	both := map[string]string{"c": desks[0].tracker.ID(), "b": desks[1].tracker.ID()}
	assert.Equal(t, both, r.left(first))
	requests := f.count("b")

	r.serveAlone(desks, desks...)
	f.answer("b", http.StatusOK)
	second := r.reset(first, firstTask)
	require.ErrorContains(t, r.endsIn(failed, second), "1 of 2 deliveries dead-lettered: c rejected")
	assert.Equal(t, map[string]string{"c": desks[0].tracker.ID()}, r.left(second))
	assert.Equal(t, [3]int{1, requests + 1, 2}, f.counts())

	f.answer("b", http.StatusBadRequest)
	third := r.byHand("another-id", r.input("evt-1")) // sends to all targets
	require.Error(t, r.endsIn(failed, third))
	f.answer("b", http.StatusOK)
	f.answer("c", http.StatusOK)
	replay := func(target int, before client.WorkflowRun) client.WorkflowRun {
		in := r.input("evt-1")
		in.Targets = in.Targets[target : target+1]
		return r.execute(fanout.ReplayOptions(in, r.queue, r.left(before)), in)
	}
	fourth := replay(1, second) // sends to b, and still names the tracker of c's open record
	err := r.endsIn(failed, fourth)
	require.ErrorContains(t, err, "dead letters of earlier runs stay open: ")
	assert.Equal(t, desks[0].tracker.ID(), r.left(fourth)["c"])
	r.completes(replay(2, fourth))
}

// TestOtherTracker_OfARunThatSettledNothing checks that the records of a run that was
// terminated, or reset while it was running, are found in its history.
func TestOtherTracker_OfARunThatSettledNothing(t *testing.T) {
	r, f, desks := startDesks(t)
	f.answer("b", http.StatusServiceUnavailable)
	r.serveAlone(desks, desks[0])
	first := r.start("evt-1")
	<-desks[0].tracker.recorded // c
	r.under(f, 1)
	f.answer("c", http.StatusOK)
	f.answer("b", http.StatusOK)
	r.serveAlone(desks, desks[1])
	require.NoError(t, r.client.TerminateWorkflow(r.ctx, first.GetID(), first.GetRunID(), "a test"))
	second := r.reset(first, firstTask)
	r.waitForOther(desks[1], desks[0])
	r.serveAlone(desks, desks...)
	r.completes(second)
	assert.Empty(t, desks[0].open(t), "it was delivered after all")
	assert.Equal(t, 2, f.count("c"))
}

// TestOtherTracker_OfARerunThatNeverAsked: a rerun that waits for the right worker may
// be reset itself. It has recorded nothing, and the run before it says who has what.
func TestOtherTracker_OfARerunThatNeverAsked(t *testing.T) {
	r, f, desks := startDesks(t)
	right, wrong := desks[0], desks[1]
	r.serveAlone(desks, right)
	first := r.start("evt-1")
	require.Error(t, r.endsIn(failed, first))
	f.answer("c", http.StatusOK)
	r.serveAlone(desks, wrong)
	second := r.reset(first, firstTask)
	r.waitForOther(wrong, right)
	third := r.reset(second, firstTask)
	wrong.health.Set(activities.CheckOtherTracker, nil)
	r.waitForOther(wrong, right)
	r.serveAlone(desks, desks...)
	r.completes(third)
	assert.Empty(t, right.open(t), "it was delivered after all")
	assert.Equal(t, 2, f.count("c"))
}

// TestOtherTracker_OfAResetToALaterPoint covers a rerun that does not call Outstanding.
func TestOtherTracker_OfAResetToALaterPoint(t *testing.T) {
	r, f, desks := startDesks(t)
	f.answer("c", http.StatusOK)
	f.answer("b", http.StatusServiceUnavailable)
	r.serveAlone(desks, desks[0])
	first := r.start("evt-1")
	r.under(f, 2)
	f.answer("b", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, first))
	// This workflow task is after the first attempts and before the end of b's delivery.
	var later int64
	history := r.client.GetWorkflowHistory(r.ctx, first.GetID(), first.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		require.NoError(t, err)
		if e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_STARTED && e.GetEventId() > firstTask {
			later = e.GetEventId()
			break
		}
	}
	require.NotZero(t, later)
	r.serveAlone(desks, desks[1])
	second := r.reset(first, later)
	r.waitForOther(desks[1], desks[0])
	r.serveAlone(desks, desks...)
	status, err := r.ended(second)
	t.Logf("%s: %v", status, err)
	assert.Empty(t, desks[1].open(t), "a delivery has one open record, in the tracker that has it")
	assert.Equal(t, map[string]string{"b": desks[0].tracker.ID()}, r.left(second))
}

// TestOtherTracker_OfACanceledRun checks that the cancellation says which tracker has each
// record.
func TestOtherTracker_OfACanceledRun(t *testing.T) {
	r, f, desks := startDesks(t)
	f.answer("b", http.StatusServiceUnavailable)
	r.serveAlone(desks, desks[0])
	run := r.start("evt-1")
	<-desks[0].tracker.recorded // c
	r.under(f, 1)
	require.NoError(t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	require.Error(t, r.endsIn(canceled, run))
	assert.Equal(t, map[string]string{"b": desks[0].tracker.ID(), "c": desks[0].tracker.ID()}, r.left(run))
	f.answer("b", http.StatusOK)
	f.answer("c", http.StatusOK)
	r.serveAlone(desks, desks[1])
	second := r.reset(run, firstTask)
	r.waitForOther(desks[1], desks[0])
	r.serveAlone(desks, desks...)
	r.completes(second)
	assert.Empty(t, desks[0].open(t))
}

// TestOtherTracker_MovedIntoThisOne checks that a tracker answers for the records of
// another tracker if its .tracker file names that tracker as moved into it.
func TestOtherTracker_MovedIntoThisOne(t *testing.T) {
	r, f, desks := startDesks(t)
	r.serveAlone(desks, desks[0])
	first := r.start("evt-1")
	require.Error(t, r.endsIn(failed, first))
	r.serveAlone(desks)
	from, to := filepath.Dir(desks[0].tracker.File("c", "evt-1")), filepath.Dir(desks[1].tracker.File("c", "evt-1"))
	name := deadletter.FileName("c", "evt-1")
	require.NoError(t, os.Rename(filepath.Join(from, name), filepath.Join(to, name)))
	identities := desks[1].tracker.ID() + "\n" + desks[0].tracker.ID() + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(to, ".tracker"), []byte(identities), 0o600))
	f.answer("c", http.StatusOK)
	r.serveAlone(desks, desks[1])
	r.completes(r.reset(first, firstTask))
	assert.Empty(t, desks[1].open(t))
	assert.Equal(t, 2, f.count("c"))
}

// TestDetails_OfAHundredTargets checks that the details of 100 targets with long names fit.
func TestDetails_OfAHundredTargets(t *testing.T) {
	var list strings.Builder
	for i := range 100 {
		fmt.Fprintf(&list, "  - {name: %s, url: $URL}\n", strings.Repeat("x", 37)+fmt.Sprintf("%03d", i))
	}
	r := startFleet(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, list.String())
	go func() {
		for {
			select {
			case <-r.tracker.recorded:
			case <-r.ctx.Done():
				return
			}
		}
	}()
	run := r.start("evt-1")
	require.Error(t, r.endsIn(failed, run))
	assert.Len(t, r.left(run), 100)
}
