// Package fleet is the fixture of tests that need FanOut with all that it talks to: a Temporal
// dev server, scripted targets, a tracker, and the workers of package queues. When a test ends,
// the fixture replays the history of each run that the test started.
//
// The package is for tests only. It is not part of package devstack, because in-package tests
// of ingest and activities import devstack, and this package imports activities, queues and
// workflows. It refuses to start Kafka, ingest or a built binary.
package fleet

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/grpc"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/history"
	"genesys-fanout/internal/queues"
	"genesys-fanout/target"
)

// TaskQueue is the task queue that the workers serve.
const TaskQueue = fanout.DefaultTaskQueue

// Options say what a test needs.
type Options struct {
	// Targets is the content of targets.yaml. $NAME or ${NAME} in it is the URL of the scripted
	// target of that name, which New starts.
	Targets string

	// Tracker is the directory of the dead letters; default a temporary one.
	Tracker string

	// Durable keeps Temporal's data on disk, so that the server can be killed and started again.
	Durable bool
}

// Fleet is a running fixture. It ends with its test.
type Fleet struct {
	T           *testing.T
	Ctx         context.Context // ends with the test
	Server      *devstack.Temporal
	Client      client.Client // with the options of ingest and worker
	History     history.Reader
	TargetsYAML string                      // the content of targets.yaml, with the URLs
	Set         *target.Set                 // the configured targets
	Targets     map[string]*devstack.Target // the scripted targets, by name
	Tracker     *deadletter.Tracker
	TrackerPath string
	Workers     queues.Config // makes the workers; all of them share one value of Activities

	// StopDeadLetters stops the worker that StartWorkers started for the tracker, and
	// StopRetryLane the one of a target.
	StopDeadLetters func()
	StopRetryLane   map[string]func()

	stopped sync.WaitGroup

	mu   sync.Mutex
	runs []startedRun
}

// New starts Temporal and the scripted targets, and opens the tracker. It starts no worker.
func New(t *testing.T, options Options) *Fleet {
	t.Helper()
	f := &Fleet{
		T: t, Ctx: await.Context(t), Targets: make(map[string]*devstack.Target),
		TrackerPath: options.Tracker, StopRetryLane: make(map[string]func()),
	}
	f.startTemporal(options.Durable)
	t.Cleanup(f.replayHistories)

	f.TargetsYAML = os.Expand(options.Targets, f.targetURL)
	var err error
	f.Set, err = target.Parse("targets.yaml", []byte(f.TargetsYAML), nil)
	require.NoError(t, err)
	if f.TrackerPath == "" {
		f.TrackerPath = t.TempDir()
	}
	f.Tracker, err = deadletter.Open(f.TrackerPath)
	require.NoError(t, err)
	f.Workers = f.NewWorkers(f.Tracker, nil)
	t.Cleanup(f.stopped.Wait)
	return f
}

// Start is New with StartWorkers.
func Start(t *testing.T, options Options) *Fleet {
	t.Helper()
	f := New(t, options)
	f.StartWorkers()
	return f
}

func (f *Fleet) startTemporal(durable bool) {
	f.T.Helper()
	var options devstack.TemporalOptions
	if durable {
		options.DBFile = filepath.Join(f.T.TempDir(), "temporal.db")
	}
	var err error
	f.Server, err = devstack.StartTemporal(f.Ctx, options)
	require.NoError(f.T, err)
	f.T.Cleanup(f.Server.Close)
	f.Client = f.dial("")
	f.History = history.Reader{Client: f.Client, Namespace: devstack.Namespace, DataConverter: fanout.DataConverter()}
}

// dial connects a client to Temporal. An empty identity is the SDK's own.
func (f *Fleet) dial(identity string) client.Client {
	f.T.Helper()
	c, err := client.DialContext(f.Ctx, client.Options{
		HostPort: f.Server.Address(), Namespace: devstack.Namespace, Identity: identity, DataConverter: fanout.DataConverter(),
		Logger:            log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(f.rememberRuns)}},
	})
	require.NoError(f.T, err)
	f.T.Cleanup(c.Close)
	return c
}

// targetURL returns the URL of a scripted target. It starts the target if its name is new.
func (f *Fleet) targetURL(name string) string {
	f.T.Helper()
	if started, ok := f.Targets[name]; ok {
		return started.URL()
	}
	started, err := devstack.StartTarget(f.Ctx, devstack.TargetOptions{KeepBodies: true, Headers: []string{
		"Idempotency-Key", "X-Genesys-Event-Time", "X-Genesys-Event-Type", "X-Genesys-Interaction-ID",
		"X-Kafka-Topic", "X-Kafka-Partition", "X-Kafka-Offset",
	}})
	require.NoError(f.T, err)
	f.T.Cleanup(started.Close)
	await.Watch(f.T, name, func() any { return started.Progress() })
	f.Targets[name] = started
	return started.URL()
}

// NewWorkers returns the configuration of the workers of one more process, which has its own
// identity, its own tracker and its own state of each target. health may be nil.
func (f *Fleet) NewWorkers(tracker activities.Tracker, health activities.Health) queues.Config {
	f.T.Helper()
	quiet := slog.New(slog.DiscardHandler)
	process := uuid.NewString()
	c := f.dial(fanout.Identity("test", process))
	return queues.Config{Client: c, TaskQueue: TaskQueue, Targets: f.Set, Log: quiet, Activities: activities.New(activities.Options{
		Process: process, Targets: f.Set, Tracker: tracker, Health: health, Logger: quiet,
		Messages: f.History, Runs: f.History, Heartbeats: c,
	})}
}

// StartWorkers starts the workers of workflow tasks, of the tracker, of each retry lane, and of
// questions to the process.
func (f *Fleet) StartWorkers() {
	f.T.Helper()
	f.StartWorker(f.Workers.WorkflowWorker(prometheus.NewRegistry()))
	f.StartWorker(f.Workers.ProcessWorker())
	f.StartDeadLetters()
	for _, one := range f.Set.All() {
		f.StopRetryLane[one.Name()] = f.StartWorker(f.Workers.RetryLaneWorker(one))
	}
}

// StartDeadLetters starts the worker of the tracker, also again after StopDeadLetters.
func (f *Fleet) StartDeadLetters() {
	f.T.Helper()
	f.StopDeadLetters = f.StartWorker(f.Workers.DeadLetterWorker())
}

// StartWorker starts a worker. The worker stops when the test ends or when stop is called.
func (f *Fleet) StartWorker(w *queues.Worker) (stop func()) {
	f.T.Helper()
	require.NoError(f.T, w.Start())
	stop = sync.OnceFunc(w.Stop)
	f.T.Cleanup(func() { f.stopped.Go(stop) })
	return stop
}

// Answer makes a scripted target answer each request with a status.
func (f *Fleet) Answer(target string, status int) {
	f.Targets[target].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Status: status} })
}

// AwaitRecord waits until the tracker has an open record of a delivery, and returns the record.
func (f *Fleet) AwaitRecord(target, eventID string) (record deadletter.Record) {
	f.T.Helper()
	await.True(f.T, "the dead letter of "+target+" for "+eventID, func() bool {
		var err error
		record, err = f.Tracker.Get(target, eventID)
		return err == nil
	})
	return record
}
