package workflows_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
)

// otherProcess is another process. It executes only Recall.
type otherProcess struct {
	id      string
	recalls atomic.Int32
}

// newProcess starts a process that answers each Recall with result. If result is nil, the process
// counts as killed and answers nothing.
func (r *runs) newProcess(result *fanout.RecallResult) *otherProcess {
	r.T.Helper()
	p := &otherProcess{id: uuid.NewString()}
	if result == nil {
		return p
	}
	w := worker.New(r.Client, fanout.ProcessQueue(fixture.TaskQueue, p.id), worker.Options{DisableWorkflowWorker: true})
	w.RegisterActivityWithOptions(func(context.Context, fanout.RecallInput) (fanout.RecallResult, error) {
		p.recalls.Add(1)
		return *result, nil
	}, activity.RegisterOptions{Name: "Recall"})
	require.NoError(r.T, w.Start())
	r.T.Cleanup(w.Stop)
	return p
}

func normalQueue(name string) *taskqueue.TaskQueue {
	return &taskqueue.TaskQueue{Name: name, Kind: enums.TASK_QUEUE_KIND_NORMAL}
}

// loseFirstTask polls the first workflow task of a run as a process does, and never completes it.
func (r *runs) loseFirstTask(p *otherProcess) {
	r.T.Helper()
	task, err := r.Client.WorkflowService().PollWorkflowTaskQueue(r.Ctx, &workflowservice.PollWorkflowTaskQueueRequest{
		Namespace: devstack.Namespace, TaskQueue: normalQueue(fixture.TaskQueue), Identity: fanout.Identity("test", p.id),
	})
	require.NoError(r.T, err)
	require.NotEmpty(r.T, task.GetTaskToken())
}

var (
	delivered = &fanout.RecallResult{Sent: true, Outcome: fanout.Outcome{Verdict: fanout.Delivered, Progress: fanout.Progress{Attempts: 1, StatusCode: http.StatusOK}}}
	unsent    = &fanout.RecallResult{}
)

// If no process polled the first workflow task before, the task is only late, and the run makes the
// first attempt as usual.
func TestLostFirstTask_AsksTheProcessThatPolledIt(t *testing.T) {
	for name, test := range map[string]struct {
		lost     bool
		answer   *fanout.RecallResult // nil: the process was killed
		attempts []int                // the attempts that the target gets
	}{
		"delivered": {lost: true, answer: delivered},
		"unsent":    {lost: true, answer: unsent, attempts: []int{1}},
		"killed":    {lost: true, attempts: []int{2}},
		"late":      {attempts: []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &runs{fixture.New(t, fixture.Options{Targets: oneTarget + `
    timeout: 3s
`})}
			first := r.newProcess(test.answer)
			in := r.Input("evt-1")
			options := fanout.StartOptions(in, fixture.TaskQueue, false)
			options.WorkflowTaskTimeout = time.Second
			run := r.Execute(options, in)
			if test.lost {
				r.loseFirstTask(first)
			}
			late := time.NewTimer(options.WorkflowTaskTimeout)
			<-late.C

			r.StartWorker(r.Workers.WorkflowWorker(prometheus.NewRegistry()))
			r.StartWorker(r.Workers.RetryLaneWorker(r.Set.All()[0]))
			r.completes(run)
			if test.answer != nil && test.lost {
				assert.EqualValues(t, 1, first.recalls.Load())
			}
			var attempts []int
			for _, request := range r.Targets["a"].Requests() {
				attempts = append(attempts, request.Attempt)
			}
			assert.Equal(t, test.attempts, attempts)
		})
	}
}

// A last attempt that a killed process began is not made again, and its record says so.
func TestLostFirstTask_TheLastAttemptOfAKilledProcessIsExhausted(t *testing.T) {
	r := &runs{fixture.New(t, fixture.Options{Targets: oneTarget + `
    max_attempts: 1
`})}
	first := r.newProcess(nil)
	in := r.Input("evt-1")
	options := fanout.StartOptions(in, fixture.TaskQueue, false)
	options.WorkflowTaskTimeout = time.Second
	r.Execute(options, in)
	r.loseFirstTask(first)
	r.StartWorkers()
	record := r.AwaitRecord("a", "evt-1")
	assert.Equal(t, event.ReasonExhausted, record.Reason)
	assert.Equal(t, 1, record.Attempts)
	assert.Zero(t, record.StatusCode)
	assert.Equal(t, "attempt 1 was begun by a process that no longer answers; the event may have been delivered", record.Error)
	assert.Zero(t, r.Targets["a"].Count())
}

// loseDeliver polls a task of the retry lane of target a as a process does. It records that an
// attempt begins, and fails the task without recording the outcome of the attempt.
func (r *runs) loseDeliver(p *otherProcess, progress fanout.Progress) {
	r.T.Helper()
	service := r.Client.WorkflowService()
	task, err := service.PollActivityTaskQueue(r.Ctx, &workflowservice.PollActivityTaskQueueRequest{
		Namespace: devstack.Namespace, TaskQueue: normalQueue(fanout.TargetQueue(fixture.TaskQueue, "a")), Identity: fanout.Identity("test", p.id),
	})
	require.NoError(r.T, err)
	require.NotEmpty(r.T, task.GetTaskToken())
	require.NoError(r.T, r.Client.RecordActivityHeartbeat(r.Ctx, task.GetTaskToken(), progress.Begin(fanout.Request{Process: p.id, Number: 7})))
	_, err = service.RespondActivityTaskFailed(r.Ctx, &workflowservice.RespondActivityTaskFailedRequest{
		Namespace: devstack.Namespace, TaskToken: task.GetTaskToken(),
		Failure: &failurepb.Failure{Message: "lost", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "lost"}}},
	})
	require.NoError(r.T, err)
}

func TestRetryLane_AsksTheProcessThatBeganTheLastAttempt(t *testing.T) {
	for name, test := range map[string]struct {
		answer   *fanout.RecallResult // nil: the process was killed
		attempts []int                // the attempts that the target gets
		recorded int                  // the attempts of the dead letter; 0: the event is delivered
	}{
		"delivered": {answer: &fanout.RecallResult{Sent: true, Outcome: fanout.Outcome{Verdict: fanout.Delivered, Progress: fanout.Progress{Attempts: 2, StatusCode: http.StatusOK}}}, attempts: []int{1}},
		"unsent":    {answer: unsent, attempts: []int{1, 2}},
		"killed":    {attempts: []int{1}, recorded: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &runs{fixture.New(t, fixture.Options{Targets: oneTarget + `
    max_attempts: 2
    backoff: {initial: 1s}
`})}
			r.Targets["a"].SetScript(func(request devstack.Request) devstack.Answer {
				if request.Attempt == 1 {
					return devstack.Answer{Status: http.StatusTooManyRequests}
				}
				return devstack.Answer{}
			})
			other := r.newProcess(test.answer)
			r.StartWorker(r.Workers.WorkflowWorker(prometheus.NewRegistry()))
			run := r.StartRun("evt-1")
			r.loseDeliver(other, fanout.Progress{Attempts: 1, StatusCode: http.StatusTooManyRequests, Error: "429"})
			r.StartWorker(r.Workers.RetryLaneWorker(r.Set.All()[0]))
			r.StartDeadLetters()
			if test.recorded == 0 {
				r.completes(run)
			} else {
				record := r.AwaitRecord("a", "evt-1")
				assert.Equal(t, event.ReasonExhausted, record.Reason)
				assert.Equal(t, test.recorded, record.Attempts)
				assert.Zero(t, record.StatusCode)
				assert.Contains(t, record.Error, "the event may have been delivered")
			}
			var attempts []int
			for _, request := range r.Targets["a"].Requests() {
				attempts = append(attempts, request.Attempt)
			}
			assert.Equal(t, test.attempts, attempts)
		})
	}
}

// Only a run that ingest started has a fast lane, and only to a target that answers within the time
// of a workflow task.
func TestFastLane_IsForFirstRunsAndQuickTargets(t *testing.T) {
	r := start(t, `
targets:
  - name: a
    url: $a
  - name: slow
    url: $slow
    timeout: 8s
`)
	count := func(run interface{ GetRunID() string }) (markers int) {
		for _, e := range r.Events(r.Client.GetWorkflow(r.Ctx, fanout.WorkflowID("evt-1"), run.GetRunID())) {
			if e.GetEventType() == enums.EVENT_TYPE_MARKER_RECORDED && e.GetMarkerRecordedEventAttributes().GetMarkerName() == "LocalActivity" {
				markers++
			}
		}
		return markers
	}
	first := r.StartRun("evt-1")
	r.completes(first)
	assert.Equal(t, 1, count(first), "the slow target has no fast lane")
	again := r.startByHand(fanout.WorkflowID("evt-1"), r.Input("evt-1"))
	_, _ = r.AwaitEnd(again)
	assert.Zero(t, count(again))
}

// The event may have been delivered, so the process is asked although the run is canceled.
func TestLostFirstTask_ACanceledRunAsksToo(t *testing.T) {
	r := &runs{fixture.New(t, fixture.Options{Targets: oneTarget})}
	first := r.newProcess(delivered)
	in := r.Input("evt-1")
	options := fanout.StartOptions(in, fixture.TaskQueue, false)
	options.WorkflowTaskTimeout = time.Second
	run := r.Execute(options, in)
	r.loseFirstTask(first)
	require.NoError(t, r.Client.CancelWorkflow(r.Ctx, run.GetID(), run.GetRunID()))
	r.StartWorkers()
	r.completes(run)
	assert.EqualValues(t, 1, first.recalls.Load())
	assert.Zero(t, r.Targets["a"].Count())
}

// The event may have been delivered in time, so the process is asked although max_age has passed.
func TestLostFirstTask_ARunWhoseMaxAgeHasPassedAsksToo(t *testing.T) {
	r := &runs{fixture.New(t, fixture.Options{Targets: oneTarget + `
    max_age: 2s
`})}
	first := r.newProcess(delivered)
	in := r.Input("evt-1")
	options := fanout.StartOptions(in, fixture.TaskQueue, false)
	options.WorkflowTaskTimeout = time.Second
	run := r.Execute(options, in)
	r.loseFirstTask(first)
	passed := time.NewTimer(3 * time.Second)
	<-passed.C
	r.StartWorkers()
	r.completes(run)
	assert.EqualValues(t, 1, first.recalls.Load())
	assert.Zero(t, r.Targets["a"].Count())
}
