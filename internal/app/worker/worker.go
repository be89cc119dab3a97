package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/history"
	"genesys-fanout/internal/process"
	"genesys-fanout/internal/queues"
	"genesys-fanout/target"
)

// Options are what a worker needs.
type Options struct {
	TaskQueue   string
	HTTPAddr    string
	DeadLetters string // a directory, or off
	Targets     *target.Set
	Temporal    process.TemporalConfig
	Log         *slog.Logger
	Env         process.Env
}

// Worker serves the queues of FanOut and of every target.
type Worker struct{ options Options }

// New makes a worker; Run starts it.
func New(options Options) *Worker { return &Worker{options} }

// Run serves until ctx ends; what is in flight then ends first, within
// process.ShutdownLimit.
func (w *Worker) Run(ctx context.Context) error {
	return process.RunAndShutdown(ctx, process.ShutdownLimit(w.options.Targets), w.options.Log, w.run)
}

func (w *Worker) run(ctx context.Context, shutdown *process.Shutdown) error {
	o := w.options
	process.WarnTracing(o.Log, o.Env)
	registry := process.NewRegistry()
	checks := []string{process.CheckTemporal, process.CheckQueues}
	if o.DeadLetters != off {
		checks = append(checks, activities.CheckTracker)
	}
	health := process.NewHealth(checks...)
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
		o.Log.Info("opened the tracker", "tracker", tracker.String())
	}
	metrics, err := process.TemporalMetrics(registry, o.Log)
	if err != nil {
		return err
	}
	polls := w.polls()
	temporal, err := process.Dial(ctx, process.DialOptions{
		Temporal: o.Temporal, DataConverter: fanout.DataConverter(), Metrics: metrics, Log: o.Log, Health: health, Polls: polls,
	})
	if err != nil {
		return err
	}
	defer temporal.Close()
	namespace := o.Temporal.Options.Namespace
	// ingest tells each run whether the namespace has them; a worker that comes
	// first prepares it.
	if _, err := process.EnsureSearchAttributes(ctx, temporal, namespace, fanout.SearchAttributeKeys(), o.Log); err != nil {
		return err
	}
	go process.WatchTemporal(ctx, temporal, namespace, health, o.Log)
	go polls.Watch(ctx, health, o.Log)

	reader := history.Reader{Client: temporal, Namespace: namespace, DataConverter: fanout.DataConverter()}
	acts := activities.New(activities.Options{
		Targets:  o.Targets,
		Messages: reader,
		Runs:     reader,
		Tracker:  tracker,
		Health:   health,
		Metrics:  registry,
		Logger:   o.Log,
	})
	if tracker != nil {
		go acts.WatchTracker(ctx)
	}
	defer shutdown.WaitFor("Temporal's task queues", queues.UnfinishedTasks)()
	return serve(ctx, w.workers(temporal, acts, registry), func() {
		o.Log.Info("worker polls", "http", server.Addr(), "targets", len(o.Targets.All()), "task_queue", o.TaskQueue)
	})
}

// polls looks at the queues that every event needs. A target's own queue is none
// of them, because the other targets do not depend on it.
func (w *Worker) polls() *process.PollMonitor {
	if w.options.DeadLetters == off {
		return process.NewPollMonitor(w.options.TaskQueue)
	}
	return process.NewPollMonitor(w.options.TaskQueue, fanout.DeadLetterQueue(w.options.TaskQueue))
}

// serve starts all workers, waits for ctx, and stops them side by side: each
// waits for what it has in flight.
func serve(ctx context.Context, workers []*queues.Worker, polling func()) error {
	var started []*queues.Worker
	defer func() { stopAll(started) }()
	for _, one := range workers {
		if err := one.Start(); err != nil {
			return fmt.Errorf("start polling Temporal: %w", err)
		}
		started = append(started, one)
	}
	polling()
	<-ctx.Done()
	return nil
}

func stopAll(workers []*queues.Worker) {
	var all sync.WaitGroup
	for _, one := range workers {
		all.Go(one.Stop)
	}
	all.Wait()
}

// workers makes the pollers of this process: one for workflow tasks with their
// first attempts, one for each target's retry lane, one for dead letters.
func (w *Worker) workers(temporal client.Client, acts *activities.Activities, registry prometheus.Registerer) []*queues.Worker {
	o := w.options
	process := queues.Config{Client: temporal, TaskQueue: o.TaskQueue, Targets: o.Targets, Log: o.Log, Activities: acts}
	all := []*queues.Worker{process.WorkflowWorker(registry)}
	for _, t := range o.Targets.All() {
		if t.State != target.Paused { // what waits for it rests in its queue
			all = append(all, process.RetryLaneWorker(t))
		}
	}
	if o.DeadLetters != off {
		all = append(all, process.DeadLetterWorker())
	}
	return all
}
