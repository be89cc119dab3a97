package history_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/history"
)

const queue = "history"

// The ways in which the test's workflow ends.
const (
	completed    = "completed"
	deadLettered = "dead-lettered"
	canceled     = "canceled"
	failed       = "failed"
	stuck        = "stuck" // it waits until it is terminated
)

// input is the input of the test's workflow: the activities that it calls, and its end. The
// message is that of fanout.Input.
type input struct {
	event.Message
	Activities []call
	End        string
	Details    fanout.DeadLetteredDetails
}

// call is a call of an activity that returns its input, as JSON.
type call struct {
	ActivityID string
	Result     map[string]any
}

func run(ctx workflow.Context, in input) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for _, c := range in.Activities {
		if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			ActivityID: c.ActivityID, StartToCloseTimeout: time.Minute,
		}), "echo", c.Result).Get(ctx, nil); err != nil {
			return err
		}
	}
	switch in.End {
	case deadLettered:
		return temporal.NewApplicationError("2 dead letters", fanout.FailureDeadLettered, in.Details)
	case canceled:
		return temporal.NewCanceledError(in.Details)
	case failed:
		return errors.New("another failure")
	case stuck:
		return workflow.Await(ctx, func() bool { return false })
	}
	return nil
}

// pending calls an activity that records its progress and does not end.
func pending(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{ActivityID: "deliver-a", StartToCloseTimeout: time.Hour})
	return workflow.ExecuteActivity(ctx, "recordProgress").Get(ctx, nil)
}

// stage is a Temporal server with a worker of the test's workflows.
type stage struct {
	ctx    context.Context
	client client.Client
	reader history.Reader
}

func startStage(t *testing.T) *stage {
	t.Helper()
	ctx := await.Context(t)
	server, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	c, err := client.DialContext(ctx, client.Options{
		HostPort: server.Address(), Namespace: devstack.Namespace, DataConverter: fanout.DataConverter(),
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	w := worker.New(c, queue, worker.Options{WorkflowPanicPolicy: worker.FailWorkflow})
	w.RegisterWorkflow(run)
	w.RegisterWorkflow(pending)
	w.RegisterActivityWithOptions(func(_ context.Context, result map[string]any) (map[string]any, error) {
		return result, nil
	}, activity.RegisterOptions{Name: "echo"})
	w.RegisterActivityWithOptions(func(ctx context.Context) error {
		activity.RecordHeartbeat(ctx, fanout.Progress{Attempts: 2, StatusCode: 503, Error: "503"})
		return activity.ErrResultPending
	}, activity.RegisterOptions{Name: "recordProgress"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	reader := history.Reader{Client: c, Namespace: devstack.Namespace, DataConverter: fanout.DataConverter()}
	return &stage{ctx: ctx, client: c, reader: reader}
}

// start starts a run. If memo is not nil, it is the memo MemoTrackers.
func (s *stage) start(t *testing.T, id string, in input, memo map[string]string) client.WorkflowRun {
	t.Helper()
	options := client.StartWorkflowOptions{ID: id, TaskQueue: queue}
	if memo != nil {
		options.Memo = map[string]any{fanout.MemoTrackers: memo}
	}
	r, err := s.client.ExecuteWorkflow(s.ctx, options, run, in)
	require.NoError(t, err)
	return r
}

// waitFor waits until the run's history has an event of this type, and returns the event.
func (s *stage) waitFor(t *testing.T, r client.WorkflowRun, want enums.EventType) *historypb.HistoryEvent {
	t.Helper()
	events := s.client.GetWorkflowHistory(s.ctx, r.GetID(), r.GetRunID(), true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		if e.GetEventType() == want {
			return e
		}
	}
	t.Fatalf("run %s ended without %s", r.GetID(), want)
	return nil
}

// terminate waits until the activities of a stuck run have completed, and terminates the run.
func (s *stage) terminate(t *testing.T, r client.WorkflowRun, activities int) {
	t.Helper()
	await.Equal(t, "completed activities", activities, func() (n int) {
		events := s.client.GetWorkflowHistory(s.ctx, r.GetID(), r.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			e, err := events.Next()
			require.NoError(t, err)
			if e.GetEventType() == enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED {
				n++
			}
		}
		return n
	})
	require.NoError(t, s.client.TerminateWorkflow(s.ctx, r.GetID(), r.GetRunID(), "by the test"))
}

var calls = []call{
	{fanout.OutstandingActivityID, map[string]any{"targets": []string{"found"}, "tracker": "tracker-1", "elsewhere": map[string]string{"other": "tracker-2"}}},
	{fanout.RecordActivityID("recorded"), map[string]any{"tracker": "tracker-1"}},
	{fanout.ResolveActivityID("resolved"), map[string]any{}},
	{fanout.ResolveActivityID("damaged"), map[string]any{"damaged": "the file has no record", "tracker": "tracker-3"}},
	{"deliver-of-another-kind", map[string]any{"tracker": "tracker-9"}},
}

var memo = map[string]string{"resolved": "tracker-3", "damaged": "tracker-3"}

// openRecords are the open records that a run leaves if it has the memo and called the
// activities, but did not settle each delivery.
var openRecords = map[string]string{"found": "tracker-1", "other": "tracker-2", "recorded": "tracker-1", "damaged": "tracker-3"}

func TestReader(t *testing.T) {
	s := startStage(t)

	t.Run("Ending_OfARunThatSettledEachDelivery", func(t *testing.T) {
		details := fanout.DeadLetteredDetails{Trackers: map[string]string{"a": "tracker-1"}}
		for end, want := range map[string]history.Ending{
			completed:    {Settled: true},
			deadLettered: {Settled: true, Trackers: details.Trackers},
			canceled:     {Settled: true, Trackers: details.Trackers},
		} {
			r := s.start(t, end, input{Activities: calls[:2], End: end, Details: details}, memo)
			_ = r.Get(s.ctx, nil) // its error is the end
			for _, runID := range []string{r.GetRunID(), ""} {
				got, err := s.reader.Ending(s.ctx, end, runID)
				require.NoError(t, err)
				assert.Equal(t, want, got, end)
			}
		}
	})

	t.Run("Ending_OfARunThatDidNotSettleHasTheRecordsThatItsHistoryShows", func(t *testing.T) {
		r := s.start(t, failed, input{Activities: calls, End: failed}, memo)
		require.Error(t, r.Get(s.ctx, nil))
		got, err := s.reader.Ending(s.ctx, failed, r.GetRunID())
		require.NoError(t, err)
		assert.Equal(t, history.Ending{Trackers: openRecords}, got)

		r = s.start(t, "terminated", input{Activities: calls, End: stuck}, memo)
		s.terminate(t, r, len(calls))
		got, err = s.reader.Ending(s.ctx, "terminated", r.GetRunID())
		require.NoError(t, err)
		assert.Equal(t, history.Ending{Trackers: openRecords}, got)
	})

	t.Run("Ending_OfAnUnknownRunIsZero", func(t *testing.T) {
		got, err := s.reader.Ending(s.ctx, "nobody", "")
		require.NoError(t, err)
		assert.Zero(t, got)
	})

	t.Run("PreviousEnding_IsThatOfTheLastClosedRunOfTheWorkflowID", func(t *testing.T) {
		const id = "rerun"
		first := s.start(t, id, input{End: stuck}, nil)
		got, err := s.reader.PreviousEnding(s.ctx, id, first.GetRunID())
		require.NoError(t, err)
		assert.Zero(t, got, "there is no run before the first one")
		s.terminate(t, first, 0)
		second := s.start(t, id, input{End: deadLettered, Details: fanout.DeadLetteredDetails{Trackers: map[string]string{"b": "tracker-2"}}}, nil)
		require.Error(t, second.Get(s.ctx, nil))
		third := s.start(t, id, input{End: stuck}, nil)
		got, err = s.reader.PreviousEnding(s.ctx, id, third.GetRunID())
		require.NoError(t, err)
		assert.Equal(t, history.Ending{Settled: true, Trackers: map[string]string{"b": "tracker-2"}}, got)
		s.terminate(t, third, 0)
	})

	t.Run("PreviousEnding_OfAResetRunIsThatOfItsBaseRun", func(t *testing.T) {
		const id = "reset"
		base := s.start(t, id, input{Activities: calls, End: deadLettered, Details: fanout.DeadLetteredDetails{Trackers: map[string]string{"c": "tracker-3"}}}, nil)
		require.Error(t, base.Get(s.ctx, nil))
		last := s.start(t, id, input{End: completed}, nil) // it closed after the base run
		require.NoError(t, last.Get(s.ctx, nil))
		firstTask := s.waitFor(t, base, enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
		reset, err := s.client.ResetWorkflowExecution(s.ctx, &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: devstack.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: id, RunId: base.GetRunID()},
			WorkflowTaskFinishEventId: firstTask.GetEventId(), RequestId: id,
		})
		require.NoError(t, err)
		got, err := s.reader.PreviousEnding(s.ctx, id, reset.GetRunId())
		require.NoError(t, err)
		assert.Equal(t, history.Ending{Settled: true, Trackers: map[string]string{"c": "tracker-3"}}, got)
	})

	t.Run("Message_IsThatOfTheRunsInput", func(t *testing.T) {
		message := event.Message{Event: event.Event{ID: "evt-1"}, Body: event.Body(`{"event_id":"evt-1"}`), Source: event.Source{Topic: "events", Partition: 1, Offset: 7}}
		r := s.start(t, "message", input{Message: message, End: completed}, nil)
		got, err := s.reader.Message(s.ctx, r.GetID(), r.GetRunID())
		require.NoError(t, err)
		assert.Equal(t, message, got)
		_, err = s.reader.Message(s.ctx, "nobody", "")
		require.ErrorContains(t, err, "read the message from the history")
	})

	t.Run("PendingProgress_IsTheLastHeartbeat", func(t *testing.T) {
		r, err := s.client.ExecuteWorkflow(s.ctx, client.StartWorkflowOptions{ID: "pending", TaskQueue: queue}, pending)
		require.NoError(t, err)
		var progress fanout.Progress
		await.True(t, "the heartbeat", func() bool {
			var ok bool
			progress, ok, err = s.reader.PendingProgress(s.ctx, r.GetID(), r.GetRunID(), "deliver-a")
			require.NoError(t, err)
			return ok
		})
		assert.Equal(t, fanout.Progress{Attempts: 2, StatusCode: 503, Error: "503"}, progress)
		_, ok, err := s.reader.PendingProgress(s.ctx, r.GetID(), r.GetRunID(), "deliver-b")
		require.NoError(t, err)
		assert.False(t, ok)
	})
}
