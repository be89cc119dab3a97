package worker

import (
	"context"
	"log/slog"
	"sync"

	"github.com/google/uuid"
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

// Options are the settings of a Worker.
type Options struct {
	TaskQueue   string
	HTTPAddr    string
	DeadLetters string // a directory, or off
	Targets     *target.Set
	Temporal    process.TemporalConfig
	Log         *slog.Logger
	Env         process.Env
}

// Worker polls the task queues of FanOut, of every target and of dead letters.
type Worker struct{ options Options }

// New returns a Worker that does nothing until Run.
func New(options Options) *Worker { return &Worker{options} }

// Run delivers events until ctx ends. Then it waits for the tasks in flight, but not longer than
// process.ShutdownLimit.
func (w *Worker) Run(ctx context.Context) error {
	return process.RunAndShutdown(ctx, process.ShutdownLimit(w.options.Targets), w.options.Log, w.run)
}

func (w *Worker) run(ctx context.Context, shutdown *process.Shutdown) error {
	o := w.options
	process.WarnTracing(o.Log, o.Env)
	process.WarnPaused(o.Log, o.Targets)
	registry := process.NewRegistry()
	checks := []string{process.CheckTemporal, process.CheckQueues}
	if o.DeadLetters != noTracker {
		checks = append(checks, activities.CheckTracker)
	}
	health := process.NewHealth(checks...)
	server, err := process.Listen(ctx, o.HTTPAddr, registry, health)
	if err != nil {
		return err
	}
	defer server.Close()

	var tracker activities.Tracker
	if o.DeadLetters != noTracker {
		if tracker, err = deadletter.Open(o.DeadLetters); err != nil {
			return &process.ExitError{Code: process.ExitUsage, Err: &process.Problem{
				Variable: "FANOUT_DEAD_LETTERS", What: err.Error(), Cure: "set it to a directory that this process can write to, or to off",
			}}
		}
		o.Log.Info("opened the tracker", "tracker", tracker.String())
	}
	metrics, err := process.TemporalMetrics(registry, o.Log)
	if err != nil {
		return err
	}
	polls := w.pollMonitor()
	id := uuid.NewString()
	temporal, err := process.Dial(ctx, process.DialOptions{
		Temporal: o.Temporal, Identity: fanout.Identity(process.Hostname(), id), DataConverter: fanout.DataConverter(),
		Metrics: metrics, Log: o.Log, Health: health, Polls: polls,
	})
	if err != nil {
		return err
	}
	defer temporal.Close()
	namespace := o.Temporal.Options.Namespace
	// The worker needs no search attributes, because ingest writes into the input of each run
	// whether the namespace has them. It registers them in case it starts before ingest.
	if _, err := process.EnsureSearchAttributes(ctx, temporal, namespace, fanout.SearchAttributeKeys(), o.Log); err != nil {
		return err
	}
	go process.WatchTemporal(ctx, temporal, namespace, health, o.Log)
	go polls.Watch(ctx, health, o.Log)

	reader := history.Reader{Client: temporal, Namespace: namespace, DataConverter: fanout.DataConverter()}
	acts := activities.New(activities.Options{
		Process:    id,
		Targets:    o.Targets,
		Messages:   reader,
		Runs:       reader,
		Heartbeats: temporal,
		Tracker:    tracker,
		Health:     health,
		Metrics:    registry,
		Logger:     o.Log,
	})
	if tracker != nil {
		go acts.WatchTracker(ctx)
	}
	defer shutdown.WaitFor("Temporal's task queues", queues.UnfinishedTasks)()
	return w.runWorkers(ctx, w.queueWorkers(temporal, acts, registry), func() {
		o.Log.Info("the worker polls its task queues", "http", server.Addr(), "targets", len(o.Targets.All()), "task_queue", o.TaskQueue)
	})
}

// pollMonitor returns a monitor of the queues that every event needs. It leaves out the queues
// of the targets, because the other targets do not depend on them.
func (w *Worker) pollMonitor() *process.PollMonitor {
	if w.options.DeadLetters == noTracker {
		return process.NewPollMonitor(w.options.TaskQueue)
	}
	return process.NewPollMonitor(w.options.TaskQueue, fanout.DeadLetterQueue(w.options.TaskQueue))
}

// runWorkers starts all workers, calls polling, and waits for the end of ctx. Then it stops all
// workers concurrently, because each of them waits for its tasks in flight.
func (w *Worker) runWorkers(ctx context.Context, workers []*queues.Worker, polling func()) error {
	var started []*queues.Worker
	defer func() { stopWorkers(started) }()
	for _, one := range workers {
		if err := process.StartPolling(ctx, w.options.Temporal, one.Start); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		started = append(started, one)
	}
	polling()
	<-ctx.Done()
	return nil
}

func stopWorkers(workers []*queues.Worker) {
	var all sync.WaitGroup
	for _, one := range workers {
		all.Go(one.Stop)
	}
	all.Wait()
}

// queueWorkers returns the Temporal workers of this process: one for workflow tasks, which make
// the first attempts, one for the retry lane of each target, one for dead letters, and one that
// answers questions about the requests of this process.
func (w *Worker) queueWorkers(temporal client.Client, acts *activities.Activities, registry prometheus.Registerer) []*queues.Worker {
	o := w.options
	config := queues.Config{Client: temporal, TaskQueue: o.TaskQueue, Targets: o.Targets, Log: o.Log, Activities: acts}
	all := []*queues.Worker{config.WorkflowWorker(registry), config.ProcessWorker()}
	for _, t := range o.Targets.All() {
		if t.State != target.Paused { // the deliveries to a paused target wait in its queue
			all = append(all, config.RetryLaneWorker(t))
		}
	}
	if o.DeadLetters != noTracker {
		all = append(all, config.DeadLetterWorker())
	}
	return all
}
