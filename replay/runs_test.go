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

func asking() (*runs, *states, *[]string) {
	s := &states{of: map[string]enums.WorkflowExecutionStatus{}, asked: map[string]int{}}
	told := &[]string{}
	r := newRuns(s, &outage{of: "Temporal", notify: func(line string) { *told = append(*told, line) }})
	return &r, s, told
}

func TestRuns_SayHowARunEnded(t *testing.T) {
	for name, want := range map[string]string{"open": "", "terminated": "ended as Terminated", "failed": "ended as Failed", "gone": "is no longer in Temporal"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s, told := asking()
				s.of["open"], s.of["terminated"], s.of["failed"] = enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, enums.WORKFLOW_EXECUTION_STATUS_FAILED
				run := newRun("event-evt-1", name)
				r.ask(t.Context(), []awaited{{run: run}})
				assert.Zero(t, s.asked[name], "it has just been started")
				time.Sleep(askInterval)
				r.ask(t.Context(), []awaited{{run: run}, {run: run}})
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
		const many = 20 * askRate
		all := make([]awaited, many)
		for i := range all {
			id := fmt.Sprint(i)
			s.of[id] = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
			all[i].run = newRun("event-"+id, id)
		}
		time.Sleep(askInterval)
		began := time.Now()
		for len(s.asked) < many {
			r.ask(t.Context(), all)
			time.Sleep(shortestPause)
		}
		assert.InDelta(t, many/askRate, time.Since(began).Seconds(), 2)
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
			time.Sleep(askInterval)
			r.ask(t.Context(), []awaited{{run: run}})
		}
		assert.Equal(t, []string{
			"waiting for Temporal to say how runs ended, for 0s: connection refused",
			"waiting for Temporal to say how runs ended, for 30s: connection refused",
		}, *told)
		assert.Empty(t, run.ended)
		s.away = nil
		time.Sleep(askInterval)
		r.ask(t.Context(), []awaited{{run: run}})
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
		assert.InDelta(t, time.Second, time.Since(began), float64(2*endPause))
		assert.Equal(t, 1, s.asked["b"])

		s.away, began = errors.New("connection refused"), time.Now()
		r.awaitEnds(t.Context(), []*run{newRun("event-c", "c")})
		assert.Equal(t, endFor, time.Since(began))
		assert.Empty(t, *told)
	})
}

// TestOutcomes_SayForWhomTheyWait: every 30 s without an outcome, by target.
func TestOutcomes_SayForWhomTheyWait(t *testing.T) {
	tracker, err := deadletter.Open(t.TempDir())
	require.NoError(t, err)
	plan := &Plan{open: newRecords(), selection: Selection{Directory: tracker}, Kinds: map[Kind]int{}}
	e := &Event{ID: "evt-1", Targets: []string{"down", "mended"}, runs: []string{"before", "before"}}
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
		o.await(o.deliveries(e, run))
		all, done := make(chan struct{}), make(chan struct{})
		close(all)
		go func() { defer close(done); o.follow(context.Background(), all) }()
		time.Sleep(remindInterval / 2)
		require.NoError(t, os.Remove(tracker.File("mended", "evt-1")))
		time.Sleep(remindInterval / 2)
		synctest.Wait()
		assert.Empty(t, told, "one was delivered meanwhile")
		time.Sleep(remindInterval)
		synctest.Wait()
		require.Len(t, told, 1)
		assert.Equal(t, "no delivery has ended for 30s: waiting for down (1); the runs go on in Temporal until their target answers or max_age has passed", <-told)
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
	e := &Event{ID: "evt-1", Targets: []string{"delivered", "down", "rejects"}, runs: []string{"before", "before", "before"}}
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
	r := New(&Plan{open: newRecords(), selection: Selection{Directory: tracker}}, Options{Notify: func(line string) { told = append(told, line) }})
	o := &r.outcomes
	o.await(o.deliveries(e, newRun("event-evt-1", "r")))
	o.look()
	require.Len(t, o.awaited, 3)

	require.NoError(t, tracker.Resolve(t.Context(), "delivered", e.ID, "r", time.Now()))
	discard(down)
	discard(record("rejects", "r"))
	o.look()
	assert.Empty(t, o.awaited)
	assert.Equal(t, ByTarget{"delivered": {Delivered: 1}, "down": {}, "rejects": {FailedAgain: 1}}, r.ByTarget())
	assert.Equal(t, []string{"event evt-1: the record of down was discarded meanwhile; the delivery counts as left"}, told)
}
