package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/deadletter"
)

// states is a Temporal in which each run has a status, by its id; a run that has
// none is gone.
type states struct {
	client.Client

	mu    sync.Mutex
	away  error
	of    map[string]enums.WorkflowExecutionStatus
	asked map[string]int
}

func (s *states) DescribeWorkflowExecution(_ context.Context, _, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return nil, s.away
	}
	s.asked[runID]++
	status, found := s.of[runID]
	if !found {
		return nil, serviceerror.NewNotFound("no such run")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflow.WorkflowExecutionInfo{Status: status}}, nil
}

func (s *states) set(runID string, status enums.WorkflowExecutionStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[runID] = status
}

func asking() (*runMonitor, *states, *[]string) {
	s := &states{of: map[string]enums.WorkflowExecutionStatus{}, asked: map[string]int{}}
	told := &[]string{}
	r := newRunMonitor(s, newOutage("Temporal", func(line string) { *told = append(*told, line) }))
	return &r, s, told
}

func TestRuns_SayHowARunEnded(t *testing.T) {
	for name, want := range map[string]string{"open": "", "terminated": "ended as Terminated", "failed": "ended as Failed", "gone": "is no longer in Temporal"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s, told := asking()
				s.of["open"], s.of["terminated"], s.of["failed"] = enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, enums.WORKFLOW_EXECUTION_STATUS_FAILED
				run := newRun("event-evt-1", name)
				r.updateDue(t.Context(), []pendingDelivery{{run: run}})
				assert.Zero(t, s.asked[name], "it has just been started")
				time.Sleep(describeInterval)
				r.updateDue(t.Context(), []pendingDelivery{{run: run}, {run: run}})
				assert.Equal(t, 1, s.asked[name], "one question for all of its deliveries")
				assert.Equal(t, want, run.ended)
				assert.Empty(t, *told)
			})
		})
	}
}

// TestRuns_AskAboutAllInTurn: of more runs than may be asked about in a second,
// none is asked about twice before all have been asked about once.
func TestRuns_AskAboutAllInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := asking()
		const many = 20 * describeRate
		all := make([]pendingDelivery, many)
		for i := range all {
			id := fmt.Sprint(i)
			s.of[id] = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
			all[i].run = newRun("event-"+id, id)
		}
		time.Sleep(describeInterval)
		began := time.Now()
		for len(s.asked) < many {
			r.updateDue(t.Context(), all)
			time.Sleep(minPause)
		}
		assert.InDelta(t, many/describeRate, time.Since(began).Seconds(), 2)
		for id, times := range s.asked {
			require.Equal(t, 1, times, id)
		}
	})
}

func TestRuns_WaitForATemporalThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, told := asking()
		run := newRun("event-evt-1", "gone")
		s.away = errors.New("connection refused")
		for range 9 { // 45 s
			time.Sleep(describeInterval)
			r.updateDue(t.Context(), []pendingDelivery{{run: run}})
		}
		assert.Equal(t, []string{
			"waiting for Temporal: read how runs ended: connection refused",
			"waiting for Temporal for 30s: read how runs ended: connection refused",
		}, *told)
		assert.Empty(t, run.ended)
		s.away = nil
		time.Sleep(describeInterval)
		r.updateDue(t.Context(), []pendingDelivery{{run: run}})
		assert.Equal(t, "Temporal answers again, after 45s", (*told)[2])
		assert.NotEmpty(t, run.ended)
	})
}

func TestRuns_AwaitEndsWaitsNoLongerThanARunTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, told := asking()
		s.of["a"], s.of["b"] = enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		began := time.Now()
		time.AfterFunc(time.Second, func() { s.set("a", enums.WORKFLOW_EXECUTION_STATUS_FAILED) })
		r.awaitEnds(t.Context(), []*run{newRun("event-a", "a"), newRun("event-b", "b")})
		assert.InDelta(t, time.Second, time.Since(began), float64(2*endPollInterval))
		assert.Equal(t, 1, s.asked["b"])

		s.away, began = errors.New("connection refused"), time.Now()
		r.awaitEnds(t.Context(), []*run{newRun("event-c", "c")})
		assert.Equal(t, endTimeout, time.Since(began))
		assert.Empty(t, *told)
	})
}

// TestOutcomes_SayForWhomTheyWait: every 30 s without an outcome, by target.
func TestOutcomes_SayForWhomTheyWait(t *testing.T) {
	tracker, err := deadletter.Open(t.TempDir())
	require.NoError(t, err)
	plan := &Plan{unsent: newRecordSet(), selection: Selection{Tracker: tracker}, Kinds: map[Kind]int{}}
	e := &Event{ID: "evt-1", Targets: []string{"down", "mended"}, recordedBy: []string{"before", "before"}}
	for _, target := range e.Targets {
		require.NoError(t, tracker.Record(t.Context(), deadletter.Record{EventID: e.ID, TargetName: target, RunID: "before"}))
	}
	synctest.Test(t, func(t *testing.T) {
		_, server, _ := asking()
		server.of["r"] = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
		told := make(chan string, 10)
		r := New(plan, Options{Client: server, Notify: func(line string) { told <- line }})
		o := &r.outcomes
		run := newRun("event-evt-1", "r")
		o.add(o.trackDeliveries(e, run))
		all, done := make(chan struct{}), make(chan struct{})
		close(all)
		go func() { defer close(done); o.watch(context.Background(), all) }()
		time.Sleep(idleInterval / 2)
		require.NoError(t, os.Remove(tracker.File("mended", "evt-1")))
		time.Sleep(idleInterval / 2)
		synctest.Wait()
		assert.Empty(t, told, "one was delivered meanwhile")
		time.Sleep(idleInterval)
		synctest.Wait()
		require.Len(t, told, 1)
		assert.Equal(t, "no delivery has ended for 30s: waiting for down (1); Temporal retries their runs until the target answers or max_age has passed", <-told)
		server.set("r", enums.WORKFLOW_EXECUTION_STATUS_TERMINATED)
		<-done
		assert.Equal(t, Counts{Delivered: 1}, r.Counts())
		assert.Contains(t, <-told, "its run ended as Terminated")
		assert.Empty(t, told)
	})
}

// TestOutcomes_ADiscardedRecordIsNotDelivered: a user may discard the records of a
// target that stays down, while a replay waits for it.
func TestOutcomes_ADiscardedRecordIsNotDelivered(t *testing.T) {
	tracker, err := deadletter.Open(t.TempDir())
	require.NoError(t, err)
	e := &Event{ID: "evt-1", Targets: []string{"delivered", "down", "rejects"}, recordedBy: []string{"before", "before", "before"}}
	record := func(target, runID string) deadletter.Record {
		record := deadletter.Record{EventID: e.ID, TargetName: target, RunID: runID}
		require.NoError(t, tracker.Record(t.Context(), record))
		return record
	}
	discard := func(record deadletter.Record) {
		discarded, err := tracker.Discard(t.Context(), record, deadletter.DiscardNote{At: time.Now(), By: "kim", Note: "it is gone for good"})
		require.NoError(t, err)
		require.True(t, discarded)
	}
	discard(record("delivered", "long ago"))
	down := record("down", "before")
	for _, target := range []string{"delivered", "rejects"} {
		record(target, "before")
	}
	var told []string
	r := New(&Plan{unsent: newRecordSet(), selection: Selection{Tracker: tracker}}, Options{Notify: func(line string) { told = append(told, line) }})
	o := &r.outcomes
	o.add(o.trackDeliveries(e, newRun("event-evt-1", "r")))
	o.checkRecords()
	require.Len(t, o.pending, 3)

	require.NoError(t, tracker.Resolve(t.Context(), "delivered", e.ID, "r", time.Now()))
	discard(down)
	discard(record("rejects", "r"))
	o.checkRecords()
	assert.Empty(t, o.pending)
	assert.Equal(t, ByTarget{"delivered": {Delivered: 1}, "down": {}, "rejects": {FailedAgain: 1}}, r.ByTarget())
	assert.Equal(t, []string{"event evt-1: the record of target down was discarded meanwhile; the delivery counts as left"}, told)
}
