package workflows_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/history"
	"genesys-fanout/internal/queues"
	"genesys-fanout/target"
	"genesys-fanout/workflows"
)

// tracker is a tracker that also sends each record to a channel.
type tracker struct {
	*deadletter.Directory
	recorded chan deadletter.Record
}

func (t tracker) Record(ctx context.Context, record deadletter.Record) error {
	err := t.Directory.Record(ctx, record)
	if err == nil {
		t.recorded <- record
	}
	return err
}

// runs runs FanOut with its workers on a real server, with one HTTP server as the target.
type runs struct {
	t       *testing.T
	ctx     context.Context
	client  client.Client
	targets *target.Set
	queue   string
	dir     string // the tracker's directory
	tracker tracker
	process queues.Config
	retry   *queues.Worker // serves the first target's retry lane
	records *queues.Worker // serves the queue of dead letters
}

// startRuns starts workers for one target. yaml contains the target's settings as members of a
// flow mapping, without its name and url.
func startRuns(t *testing.T, handler http.HandlerFunc, yaml string) *runs {
	t.Helper()
	return startFleet(t, handler, "  - {name: a, url: $URL, "+yaml+"}\n")
}

// startFleet starts workers for the targets of a list. $URL in the list is the URL of the
// handler.
func startFleet(t *testing.T, handler http.HandlerFunc, list string) *runs {
	t.Helper()
	ctx := await.Context(t)
	temporal, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	quiet := slog.New(slog.DiscardHandler)
	c, err := client.DialContext(ctx, client.Options{
		HostPort: temporal.Address(), Namespace: devstack.Namespace, DataConverter: fanout.DataConverter(), Logger: log.NewStructuredLogger(quiet),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	await.Watch(t, "requests", func() any { return requests.Load() })
	set, err := target.Parse("targets.yaml", []byte("targets:\n"+strings.ReplaceAll(list, "$URL", server.URL)), nil)
	require.NoError(t, err)

	dir := t.TempDir()
	directory, err := deadletter.Open(dir)
	require.NoError(t, err)
	r := &runs{t: t, ctx: ctx, client: c, targets: set, queue: fanout.DefaultTaskQueue, dir: dir, tracker: tracker{directory, make(chan deadletter.Record, 1000)}}
	reader := history.Reader{Client: c, Namespace: devstack.Namespace, DataConverter: fanout.DataConverter()}
	acts := activities.New(activities.Options{Targets: set, Tracker: r.tracker, Logger: quiet, Messages: reader, Runs: reader})
	process := queues.Config{Client: c, TaskQueue: r.queue, Targets: set, Activities: acts, Log: quiet}
	r.process = process
	var stopped sync.WaitGroup
	t.Cleanup(stopped.Wait)
	r.records = process.DeadLetterWorker()
	workers := []*queues.Worker{process.WorkflowWorker(prometheus.NewRegistry()), r.records}
	for _, one := range set.All() {
		workers = append(workers, process.RetryLaneWorker(one))
	}
	r.retry = workers[2]
	for _, w := range workers {
		require.NoError(t, w.Start())
		if w != r.retry && w != r.records {
			t.Cleanup(func() { stopped.Go(w.Stop) })
		}
	}
	return r
}

// input returns the input of a run that sends an event to all targets.
func (r *runs) input(id string) fanout.Input {
	in := fanout.Input{
		Message: event.Message{Event: event.Event{ID: id, Type: "conversation.started"}, Body: event.Body(`{"event_id":"evt"}`)},
	}
	for _, one := range r.targets.All() {
		in.Targets = append(in.Targets, one.Policy)
	}
	return in
}

// start starts the run of an event as ingest does.
func (r *runs) start(id string) client.WorkflowRun {
	r.t.Helper()
	in := r.input(id)
	return r.execute(fanout.StartOptions(in, r.queue, ""), in)
}

func (r *runs) execute(options client.StartWorkflowOptions, in fanout.Input) client.WorkflowRun {
	r.t.Helper()
	run, err := r.client.ExecuteWorkflow(r.ctx, options, fanout.WorkflowName, in)
	require.NoError(r.t, err)
	return run
}

// firstTask is the id of the event at which a run's first workflow task starts. The events
// before it are the run's start and the scheduling of the task.
const firstTask = 3

// reset resets a run to a workflow task, and returns the new run.
func (r *runs) reset(run client.WorkflowRun, toTask int64) client.WorkflowRun {
	r.t.Helper()
	reset, err := r.client.ResetWorkflowExecution(r.ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: devstack.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		WorkflowTaskFinishEventId: toTask, RequestId: uuid.NewString(),
	})
	require.NoError(r.t, err)
	return r.client.GetWorkflow(r.ctx, run.GetID(), reset.GetRunId())
}

// replay fails the test if the history of the run does not replay.
func (r *runs) replay(id, runID string) {
	r.t.Helper()
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DataConverter: fanout.DataConverter()})
	require.NoError(r.t, err)
	replayer.RegisterWorkflowWithOptions((&workflows.Workflows{}).FanOut, workflow.RegisterOptions{Name: fanout.WorkflowName})
	require.NoError(r.t, replayer.ReplayWorkflowExecution(r.ctx, r.client.WorkflowService(), nil, devstack.Namespace, workflow.Execution{ID: id, RunID: runID}))
}

// recorded waits for the next dead letter and returns it.
func (r *runs) recorded() deadletter.Record {
	r.t.Helper()
	return await.Receive(r.t, "a dead letter", r.tracker.recorded)
}

func answer(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// TestFanOut_TellsEachAttemptWhereItsEventStands checks that each attempt has the event's place
// in Kafka and its time, in both lanes, even if the event is too large for an activity's input.
func TestFanOut_TellsEachAttemptWhereItsEventStands(t *testing.T) {
	headers := make(chan http.Header, 10)
	var requests atomic.Int32
	r := startRuns(t, func(w http.ResponseWriter, request *http.Request) {
		headers <- request.Header
		if requests.Add(1)%2 == 1 {
			answer(w, http.StatusServiceUnavailable, "")
		}
	}, "retry_statuses: [503], backoff: {initial: 1s}")
	at := time.Date(2026, 3, 14, 12, 0, 0, 250e6, time.UTC)
	for n, large := range map[int64]int{1: 0, 2: 200 << 10} {
		in := r.input(fmt.Sprintf("evt-%d", n) + strings.Repeat("x", large/40))
		in.Event.PublishedAt = at
		in.Source = event.Source{Topic: "events", Partition: 7, Offset: n}
		in.Body = event.Body(`"` + strings.Repeat("x", large) + `"`)
		require.NoError(t, r.execute(fanout.StartOptions(in, r.queue, ""), in).Get(r.ctx, nil))
		for _, attempt := range []string{"1", "2"} {
			got := <-headers
			assert.Equal(t, attempt, got.Get("X-Delivery-Attempt"))
			assert.Equal(t, "2026-03-14T12:00:00.25Z", got.Get("X-Genesys-Event-Time"))
			assert.Equal(t, "events", got.Get("X-Kafka-Topic"))
			assert.Equal(t, "7", got.Get("X-Kafka-Partition"))
			assert.Equal(t, fmt.Sprint(n), got.Get("X-Kafka-Offset"))
		}
	}
}

// TestResetAfterMaxAge checks that max_age counts anew from a reset, because people often
// look at dead letters only after max_age has passed.
func TestResetAfterMaxAge(t *testing.T) {
	var mended atomic.Bool
	r := startRuns(t, func(w http.ResponseWriter, _ *http.Request) {
		if mended.Load() {
			answer(w, http.StatusOK, "")
			return
		}
		answer(w, http.StatusBadRequest, "")
	}, "max_age: 3s")
	run := r.start("evt-1")
	require.Error(t, run.Get(r.ctx, nil))
	require.Equal(t, event.ReasonRejected, r.recorded().Reason)
	mended.Store(true)
	maxAge := time.NewTimer(time.Duration(r.targets.All()[0].Policy.MaxAge))
	<-maxAge.C

	reset := r.reset(run, firstTask)
	require.NoError(t, reset.Get(r.ctx, nil))

	r.replay(run.GetID(), run.GetRunID())
	r.replay(run.GetID(), reset.GetRunID())
}

// TestMaxAgePassesInTheFastLane checks that a delivery expires if the target hangs for
// longer than max_age in the first attempt.
func TestMaxAgePassesInTheFastLane(t *testing.T) {
	r := startRuns(t, func(_ http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body) // the server notices that the client is gone only after it has read the body
		<-request.Context().Done()
	}, "timeout: 3s, max_age: 2s")
	r.start("evt-1")
	got := r.recorded()
	assert.Equal(t, event.ReasonExpired, got.Reason)
	assert.Equal(t, 1, got.Attempts)
	assert.Contains(t, got.Error, "max_age has passed; no answer within 3s")
}

// TestFanOut_ExpiresAtOnceIfTheNextAttemptWouldComeTooLate checks that a delivery does not
// wait for max_age to pass if it cannot succeed any more, and that the error says why.
func TestFanOut_ExpiresAtOnceIfTheNextAttemptWouldComeTooLate(t *testing.T) {
	for name, test := range map[string]struct {
		settings string
		handler  func(attempt string, w http.ResponseWriter)
		attempts int
		status   int
		error    string
	}{
		"first attempt, the target asks": {
			"max_age: 40s", func(_ string, w http.ResponseWriter) {
				w.Header().Set("Retry-After", "60")
				answer(w, http.StatusTooManyRequests, "slow down")
			}, 1, 429, `^a wait of 1m0s \(asked for by the target\) is longer than the \S+ that are left of max_age 40s; 429 Too Many Requests: slow down$`,
		},
		"first attempt, backoff": {
			"max_age: 40s, retry_statuses: [503], backoff: {initial: 1m}", func(_ string, w http.ResponseWriter) {
				answer(w, http.StatusServiceUnavailable, "")
			}, 1, 503, `^a wait of 1m0s \(the backoff\) is longer than the \S+ that are left of max_age 40s; 503 Service Unavailable$`,
		},
		"retry lane": {
			"max_age: 40s, retry_statuses: [503], backoff: {initial: 1s}", func(attempt string, w http.ResponseWriter) {
				if attempt == "2" {
					w.Header().Set("Retry-After", "3600")
				}
				answer(w, http.StatusServiceUnavailable, "")
			}, 2, 503, `^a wait of 15m0s \(asked for by the target\) is longer than the \S+ that are left of max_age 40s; 503 Service Unavailable$`,
		},
		"the last attempt is exhausted instead": {
			"max_age: 40s, max_attempts: 1", func(_ string, w http.ResponseWriter) {
				w.Header().Set("Retry-After", "60")
				answer(w, http.StatusTooManyRequests, "")
			}, 1, 429, `^429 Too Many Requests$`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRuns(t, func(w http.ResponseWriter, request *http.Request) {
				test.handler(request.Header.Get("X-Delivery-Attempt"), w)
			}, test.settings)
			began := time.Now()
			run := r.start("evt-1")
			got := r.recorded()
			assert.Less(t, time.Since(began), 30*time.Second)
			want := event.ReasonExpired
			if strings.Contains(name, "exhausted") {
				want = event.ReasonExhausted
			}
			assert.Equal(t, want, got.Reason)
			assert.Equal(t, test.attempts, got.Attempts)
			assert.Equal(t, test.status, got.StatusCode)
			assert.Regexp(t, test.error, got.Error)
			_, err := r.ended(run)
			require.ErrorContains(t, err, "a "+string(want)+" after")
		})
	}
}

// TestMaxAgePassesUnpolled checks that a delivery keeps the error of its last attempt,
// however long it is, if max_age passes while the target's queue is not polled.
func TestMaxAgePassesUnpolled(t *testing.T) {
	var requests atomic.Int32
	page := strings.Repeat("x", 4<<10)
	r := startRuns(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		answer(w, http.StatusServiceUnavailable, page)
	}, "retry_statuses: [503], max_attempts: 100, max_age: 5s, backoff: {initial: 1s, multiplier: 1}")
	r.start("evt-1")
	await.True(t, "three requests", func() bool { return requests.Load() == 3 })
	r.retry.Stop()
	got := r.recorded()
	assert.Equal(t, event.ReasonExpired, got.Reason)
	assert.EqualValues(t, requests.Load(), got.Attempts)
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	assert.Contains(t, got.Error, "max_age has passed; 503 Service Unavailable: xxx")
}

// TestALostFirstTaskIsAskedFor checks what happens if the first workflow task is lost and
// another process gets the next one. The run asks the first process for the outcome of its
// attempt, and sends only if that process did not. If no process had the task before, it is
// only late, and the run makes the first attempt as usual.
func TestALostFirstTaskIsAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		lost                 bool
		verdict              fanout.Verdict
		questioned, requests int32
	}{
		"delivered": {lost: true, verdict: fanout.Delivered, questioned: 1, requests: 0},
		"held":      {lost: true, verdict: fanout.Held, questioned: 1, requests: 1},
		"late":      {lost: false, verdict: fanout.Held, questioned: 0, requests: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var questioned, got atomic.Int32
			r := startRuns(t, func(http.ResponseWriter, *http.Request) { got.Add(1) }, "timeout: 3s")
			queue := "first-process-lost"
			recallQueue := fanout.RecallQueue(queue, "it")
			first := worker.New(r.client, recallQueue, worker.Options{DisableWorkflowWorker: true})
			first.RegisterActivityWithOptions(func(fanout.DeliverInput) (fanout.Outcome, error) {
				questioned.Add(1)
				return fanout.Outcome{Verdict: test.verdict}, nil
			}, activity.RegisterOptions{Name: "Recall"})
			require.NoError(t, first.Start())
			t.Cleanup(first.Stop)

			in := fanout.Input{Message: event.Message{Event: event.Event{ID: "evt-1"}, Body: event.Body(`{}`)}, Targets: []target.Policy{r.targets.All()[0].Policy}}
			options := fanout.StartOptions(in, queue, recallQueue)
			options.EnableEagerStart = false // any worker that polls gets the workflow task
			options.WorkflowTaskTimeout = time.Second
			run, err := r.client.ExecuteWorkflow(r.ctx, options, fanout.WorkflowName, in)
			require.NoError(t, err)
			if test.lost {
				task, err := r.client.WorkflowService().PollWorkflowTaskQueue(r.ctx, &workflowservice.PollWorkflowTaskQueueRequest{
					Namespace: devstack.Namespace, TaskQueue: &taskqueue.TaskQueue{Name: queue, Kind: enums.TASK_QUEUE_KIND_NORMAL},
				})
				require.NoError(t, err)
				require.NotEmpty(t, task.GetTaskToken())
			}
			late := time.NewTimer(options.WorkflowTaskTimeout)
			<-late.C

			second := queues.Config{
				Client: r.client, TaskQueue: queue, Targets: r.targets, Log: slog.New(slog.DiscardHandler),
				Activities: activities.New(activities.Options{Targets: r.targets, Logger: slog.New(slog.DiscardHandler)}),
			}
			for _, w := range []*queues.Worker{second.WorkflowWorker(prometheus.NewRegistry()), second.RetryLaneWorker(r.targets.All()[0])} {
				require.NoError(t, w.Start())
				t.Cleanup(w.Stop)
			}
			require.NoError(t, run.Get(r.ctx, nil))
			assert.Equal(t, test.questioned, questioned.Load())
			assert.Equal(t, test.requests, got.Load())
			r.replay(run.GetID(), run.GetRunID())
		})
	}
}
