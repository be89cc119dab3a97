package fleet

import (
	"context"
	"log/slog"
	"slices"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/workflows"
)

// Input returns the input of a run that sends an event to all targets.
func (f *Fleet) Input(eventID string) fanout.Input {
	in := fanout.Input{Message: event.Message{
		Event: event.Event{ID: eventID, Type: "conversation.started"}, Body: event.Body(`{"event_id":"evt"}`),
	}}
	for _, one := range f.Set.All() {
		in.Targets = append(in.Targets, one.Policy)
	}
	return in
}

// StartRun starts the run of an event as ingest does.
func (f *Fleet) StartRun(eventID string) client.WorkflowRun {
	f.T.Helper()
	in := f.Input(eventID)
	return f.Execute(fanout.StartOptions(in, TaskQueue, false), in)
}

// Execute starts a run with the given options.
func (f *Fleet) Execute(options client.StartWorkflowOptions, in fanout.Input) client.WorkflowRun {
	f.T.Helper()
	run, err := f.Client.ExecuteWorkflow(f.Ctx, options, fanout.WorkflowName, in)
	require.NoError(f.T, err)
	return run
}

// AwaitEnd waits for the end of a run. It returns the run's status and its error.
func (f *Fleet) AwaitEnd(run client.WorkflowRun) (enums.WorkflowExecutionStatus, error) {
	f.T.Helper()
	status := enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	await.True(f.T, "the end of a run", func() bool {
		described, err := f.Client.DescribeWorkflowExecution(f.Ctx, run.GetID(), run.GetRunID())
		require.NoError(f.T, err)
		status = described.GetWorkflowExecutionInfo().GetStatus()
		return status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	})
	return status, run.Get(f.Ctx, nil)
}

// Events returns the history of a run.
func (f *Fleet) Events(run client.WorkflowRun) []*historypb.HistoryEvent {
	f.T.Helper()
	events, err := f.events(f.Ctx, run.GetID(), run.GetRunID())
	require.NoError(f.T, err)
	return events
}

func (f *Fleet) events(ctx context.Context, workflowID, runID string) (events []*historypb.HistoryEvent, err error) {
	pages := f.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for pages.HasNext() {
		e, err := pages.Next()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

type startedRun struct{ workflowID, runID string }

// rememberRuns is a gRPC interceptor that remembers each run that the client starts or resets,
// no matter which package calls the client.
func (f *Fleet) rememberRuns(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := call(ctx, method, request, reply, connection, options...)
	if err != nil {
		return err
	}
	var run startedRun
	switch request := request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		run.workflowID = request.GetWorkflowId()
	case *workflowservice.ResetWorkflowExecutionRequest:
		run.workflowID = request.GetWorkflowExecution().GetWorkflowId()
	default:
		return nil
	}
	if reply, ok := reply.(interface{ GetRunId() string }); ok {
		run.runID = reply.GetRunId()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs = append(f.runs, run)
	return nil
}

// replayHistories fails the test if the history of a run does not replay.
func (f *Fleet) replayHistories() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.Ctx), await.Patience)
	defer cancel()
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DataConverter: fanout.DataConverter()})
	require.NoError(f.T, err)
	replayer.RegisterWorkflowWithOptions((&workflows.Workflows{}).FanOut, workflow.RegisterOptions{Name: fanout.WorkflowName})
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, run := range f.runs {
		events, err := f.events(ctx, run.workflowID, run.runID)
		if !assert.NoError(f.T, err) || !slices.ContainsFunc(events, completesTask) {
			continue // no worker ran the workflow's code, so there is nothing to compare
		}
		execution := workflow.Execution{ID: run.workflowID, RunID: run.runID}
		err = replayer.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
			&historypb.History{Events: events}, worker.ReplayWorkflowHistoryOptions{OriginalExecution: execution})
		assert.NoError(f.T, err, "the history of run %s of %s must replay", run.runID, run.workflowID)
	}
}

func completesTask(e *historypb.HistoryEvent) bool {
	return e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
}
