package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"

	"genesys-fanout/activities"
	"genesys-fanout/fanout"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/history"
	"genesys-fanout/internal/process"
	"genesys-fanout/internal/queues"
	"genesys-fanout/target"
)

// Options configure the process.
type Options struct {
	TaskQueue string // FANOUT_TASK_QUEUE
	HTTPAddr  string // of /metrics, /healthz and /readyz
	Eager     bool   // FANOUT_EAGER_START: this process makes the first attempts
	MaxStarts int    // FANOUT_MAX_STARTS

	// Connect returns how to connect to the brokers. It is called at the start and whenever
	// ingest must connect anew.
	Connect     func(context.Context) (ingest.Connection, error)
	GroupID     string
	OffsetReset string // earliest or latest
	EventID     *target.EventID

	Targets  *target.Set
	Temporal process.TemporalConfig
	Log      *slog.Logger
	Env      process.Env // for warnings about variables without effect
}

// Ingest is the process.
type Ingest struct{ options Options }

// New returns the process; Run starts it.
func New(options Options) *Ingest { return &Ingest{options} }

// Run consumes until ctx ends. Then it waits for starts and first attempts in flight, within
// process.ShutdownLimit.
func (i *Ingest) Run(ctx context.Context) error {
	return process.RunAndShutdown(ctx, process.ShutdownLimit(i.options.Targets), i.options.Log, i.serve)
}

// drainLimit is how long a stop waits for starts in flight. The last of them may bring a
// first attempt, which takes up to the longest target timeout plus queues.StopSlack. One
// second is left for the rest of the stop.
const drainLimit = process.ShutdownSlack - queues.StopSlack - time.Second

func (i *Ingest) serve(ctx context.Context, shutdown *process.Shutdown) error {
	o, log := i.options, i.options.Log
	process.WarnTracing(log, o.Env)
	process.WarnPaused(log, o.Targets)
	registry := process.NewRegistry()
	checks := []string{process.CheckTemporal, ingest.CheckKafka}
	var polls *process.PollMonitor
	if o.Eager { // otherwise the process does not poll for workflow tasks
		polls = process.NewPollMonitor(o.TaskQueue)
		checks = append(checks, process.CheckQueues)
	}
	health := process.NewHealth(checks...)
	server, err := process.Listen(ctx, o.HTTPAddr, registry, health)
	if err != nil {
		return err
	}
	defer server.Close()

	first, err := o.Connect(ctx) // before Temporal, so that a rejection by Genesys is reported even if Temporal does not answer
	if err != nil {
		return err
	}
	metrics, err := process.TemporalMetrics(registry, log)
	if err != nil {
		return err
	}
	id := uuid.NewString()
	temporal, err := process.Dial(ctx, process.DialOptions{
		Temporal: o.Temporal, Identity: fanout.Identity(process.Hostname(), id), DataConverter: fanout.DataConverter(),
		Metrics: metrics, Log: log, Health: health, Polls: polls,
	})
	if err != nil {
		return err
	}
	defer temporal.Close()
	namespace := o.Temporal.Options.Namespace
	attributes, err := process.EnsureSearchAttributes(ctx, temporal, namespace, fanout.SearchAttributeKeys(), log)
	if err != nil {
		return err
	}
	go process.WatchTemporal(ctx, temporal, namespace, health, log)

	stopFirstAttempts := func() {}
	if o.Eager {
		if stopFirstAttempts, err = i.startFirstAttempts(ctx, temporal, id, registry, shutdown); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go polls.Watch(ctx, health, log)
	}
	defer stopFirstAttempts()

	log.Info("ingest consumes", "http", server.Addr(), "brokers", first.BootstrapServers, "topics", first.Topics, "group", o.GroupID)
	in, err := ingest.New(ingest.Options{
		Connect: firstConnection(first, o.Connect),
		GroupID: o.GroupID,
		Reset:   o.OffsetReset,
		Targets: o.Targets,
		EventID: o.EventID,
		Starter: ingest.TemporalStarter{
			Client: temporal, TaskQueue: o.TaskQueue, Eager: o.Eager,
		},
		MaxStarts:        o.MaxStarts,
		DrainLimit:       drainLimit,
		OnDrained:        func() { go stopFirstAttempts() },
		SearchAttributes: attributes.Usable,
		Metrics:          registry,
		Health:           health,
		Log:              log,
	})
	if err != nil {
		return err
	}
	defer shutdown.WaitFor("Kafka's consumer group", "Kafka did not answer in time; messages whose commit is missing are read again and found to be duplicates")()
	return in.Run(ctx)
}

// startFirstAttempts starts the workers that run the first workflow task of each run in this
// process, on the client that starts the run, and that answer questions about it. id is the id
// of this process. stopWorkers may be called more than once; it returns when no task is in
// flight.
func (i *Ingest) startFirstAttempts(ctx context.Context, temporal client.Client, id string, registry prometheus.Registerer, shutdown *process.Shutdown) (stopWorkers func(), err error) {
	o := i.options
	reader := history.Reader{Client: temporal, Namespace: o.Temporal.Options.Namespace, DataConverter: fanout.DataConverter()}
	config := queues.Config{
		Client: temporal, TaskQueue: o.TaskQueue, Targets: o.Targets, Log: o.Log,
		Activities: activities.New(activities.Options{Process: id, Targets: o.Targets, Runs: reader, Metrics: registry, Logger: o.Log}),
	}
	questions, runs := config.ProcessWorker(), config.WorkflowWorker(registry)
	done := shutdown.WaitFor("Temporal's task queues", queues.UnfinishedTasks)
	if err := process.StartPolling(ctx, o.Temporal, questions.Start); err != nil {
		return nil, err
	}
	if err := process.StartPolling(ctx, o.Temporal, runs.Start); err != nil {
		questions.Stop()
		return nil, err
	}
	return sync.OnceFunc(func() {
		defer done()
		var both sync.WaitGroup
		both.Go(questions.Stop)
		both.Go(runs.Stop)
		both.Wait()
	}), nil
}

// firstConnection returns a Connect function whose first call returns a connection that was
// read already.
func firstConnection(first ingest.Connection, connect func(context.Context) (ingest.Connection, error)) func(context.Context) (ingest.Connection, error) {
	unused := true
	return func(ctx context.Context) (ingest.Connection, error) {
		if unused {
			unused = false
			return first, nil
		}
		return connect(ctx)
	}
}
