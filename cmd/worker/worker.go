package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/internal/process"
	"genesys-fanout/target"
	"genesys-fanout/workflows"
)

// Options are what a worker needs.
type Options struct {
	TaskQueue   string
	HTTPAddr    string
	DeadLetters string // a directory, or off
	Targets     *target.Set
	Temporal    process.Temporal
	Log         *slog.Logger
	Env         process.Env
}

// Worker serves the queues of FanOut and of every target.
type Worker struct{ options Options }

// New makes a worker; Run starts it.
func New(options Options) *Worker { return &Worker{options} }

// checkQueues is the health check that says whether the queues are polled.
const checkQueues = "queues"

// Run serves until ctx ends; what is in flight then ends first.
func (w *Worker) Run(ctx context.Context) error {
	o := w.options
	process.WarnTracing(o.Log, o.Env)
	registry := process.NewRegistry()
	health := process.NewHealth(process.CheckTemporal, checkQueues)
	server, err := process.Listen(ctx, o.HTTPAddr, registry, health)
	if err != nil {
		return err
	}
	defer server.Close()

	var tracker activities.Tracker
	if o.DeadLetters != off {
		if tracker, err = deadletter.Open(o.DeadLetters); err != nil {
			return &process.ExitError{Code: process.ExitUsage, Err: process.Problem{
				Variable: "FANOUT_DEAD_LETTERS", What: err.Error(), Cure: "name a directory that this process may write, or off",
			}}
		}
	}
	metrics, err := process.TemporalMetrics(registry, o.Log)
	if err != nil {
		return err
	}
	temporal, err := process.Dial(ctx, process.Connection{
		Temporal: o.Temporal, DataConverter: workflows.DataConverter(), Metrics: metrics, Log: o.Log, Health: health,
	})
	if err != nil {
		return err
	}
	defer temporal.Close()
	namespace := o.Temporal.Options.Namespace
	// ingest tells each run whether the namespace has them; a worker that comes
	// first prepares it.
	if _, err := process.EnsureSearchAttributes(ctx, temporal, namespace, o.Log); err != nil {
		return err
	}
	go process.Watch(ctx, temporal, namespace, health, o.Log)

	return serve(ctx, w.workers(temporal, tracker, registry), func() {
		health.Set(checkQueues, nil)
		o.Log.Info("worker is ready", "http", server.Addr(), "targets", len(o.Targets.All()), "task_queue", o.TaskQueue)
	})
}

// serve starts all workers, waits for ctx or for one that fails for good, and
// stops them side by side: each waits for what it has in flight.
func serve(ctx context.Context, workers []worker.Worker, ready func()) error {
	var started []worker.Worker
	defer func() { stop(started) }()
	for _, one := range workers {
		if err := one.Start(); err != nil {
			return fmt.Errorf("start polling Temporal: %w", err)
		}
		started = append(started, one)
	}
	ready()
	<-ctx.Done()
	return nil
}

func stop(workers []worker.Worker) {
	var all sync.WaitGroup
	for _, one := range workers {
		all.Go(one.Stop)
	}
	all.Wait()
}

const (
	// stickyRuns is how many open runs keep their state in memory, at 10 to 20
	// KB each without their message. In an outage many more are open; they are
	// replayed when they go on.
	stickyRuns = 500

	// workflowSlots is how many workflow tasks may be under way. Each stays
	// open for its slowest first attempt; of a target that hangs those are at
	// most 32, and its breaker opens after ten.
	workflowSlots = 400

	// localSlots is the number of first attempts per target: one for each workflow task.
	localSlots = workflowSlots

	// workflowPollers: on loopback a poll answers in about 2 ms, so a dozen hand
	// out more tasks than one server starts.
	workflowPollers = 12

	// targetPollers fetch a backlog at some hundred tasks a second; at rest each
	// costs a request a minute.
	targetPollers = 4

	// stopSlack is what an attempt in flight may need beyond its timeout to tell
	// Temporal how it ended. A WorkerStopTimeout of 0 would run first attempts
	// twice.
	stopSlack = 2 * time.Second
)

// workers makes the pollers of this process: one for workflow tasks with their
// first attempts, one for each target's retry lane, one for dead letters.
func (w *Worker) workers(temporal client.Client, tracker activities.Tracker, registry prometheus.Registerer) []worker.Worker {
	o := w.options
	acts := activities.New(activities.Options{
		Targets: o.Targets,
		Messages: activities.History{
			Client: temporal, Namespace: o.Temporal.Options.Namespace, DataConverter: workflows.DataConverter(),
		},
		Tracker: tracker,
		Metrics: registry,
		Logger:  o.Log,
	})
	grace := longestTimeout(o.Targets) + stopSlack
	worker.SetStickyWorkflowCacheSize(stickyRuns)

	all := []worker.Worker{w.workflowWorker(temporal, acts, newEventAge(registry), grace)}
	for _, t := range o.Targets.All() {
		if t.State != target.Paused { // what waits for it rests in its queue
			all = append(all, w.targetWorker(temporal, acts, t, grace))
		}
	}
	if tracker != nil {
		all = append(all, w.deadLetterWorker(temporal, acts, grace))
	}
	return all
}

func (w *Worker) workflowWorker(temporal client.Client, acts *activities.Activities, age prometheus.Observer, grace time.Duration) worker.Worker {
	one := worker.New(temporal, w.options.TaskQueue, worker.Options{
		LocalActivityWorkerOnly:                 true,
		MaxConcurrentWorkflowTaskExecutionSize:  workflowSlots,
		MaxConcurrentLocalActivityExecutionSize: localSlots * len(w.options.Targets.All()),
		MaxConcurrentWorkflowTaskPollers:        workflowPollers,
		WorkerStopTimeout:                       grace,
	})
	fanOut := &workflows.Workflows{Delivered: func(d time.Duration) { age.Observe(d.Seconds()) }}
	one.RegisterWorkflowWithOptions(fanOut.FanOut, workflow.RegisterOptions{Name: workflows.FanOutName})
	one.RegisterActivity(acts.FirstAttempt)
	return one
}

func (w *Worker) targetWorker(temporal client.Client, acts *activities.Activities, t *target.Target, grace time.Duration) worker.Worker {
	one := worker.New(temporal, workflows.TargetQueue(w.options.TaskQueue, t.Name()), worker.Options{
		DisableWorkflowWorker:            true,
		Tuner:                            acts.Tuner(t),
		TaskQueueActivitiesPerSecond:     t.RateLimit,
		MaxConcurrentActivityTaskPollers: targetPollers,
		// Deliver's heartbeats are no sign of life but its record of requests
		// sent: each must be out before the next request is.
		DefaultHeartbeatThrottleInterval: time.Nanosecond,
		MaxHeartbeatThrottleInterval:     time.Nanosecond,
		WorkerStopTimeout:                grace,
	})
	one.RegisterActivity(acts.Deliver)
	return one
}

// deadLetterSlots: writes to one disk gain nothing from more.
const deadLetterSlots = 16

func (w *Worker) deadLetterWorker(temporal client.Client, acts *activities.Activities, grace time.Duration) worker.Worker {
	one := worker.New(temporal, workflows.DeadLetterQueue(w.options.TaskQueue), worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: deadLetterSlots,
		WorkerStopTimeout:                  grace,
	})
	one.RegisterActivityWithOptions(acts.RecordDeadLetter, activity.RegisterOptions{Name: "RecordDeadLetter"})
	return one
}

func longestTimeout(targets *target.Set) time.Duration {
	var longest time.Duration
	for _, t := range targets.All() {
		longest = max(longest, time.Duration(t.Policy.Timeout))
	}
	return longest
}

func newEventAge(registry prometheus.Registerer) prometheus.Observer {
	age := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fanout_event_age_seconds",
		Help:    "Time from an event's publication to its last delivery, of events that reached every target.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2, 20), // 10 ms to 87 min
	})
	registry.MustRegister(age)
	return age
}
