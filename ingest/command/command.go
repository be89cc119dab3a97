// Package command is the process around ingest: its settings, its connections
// and their order at start and stop. It stands apart from cmd/ingest so that
// another module can run the same process on another genesys.Source.
package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"

	"genesys-fanout/activities"
	"genesys-fanout/fanout"
	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/process"
	"genesys-fanout/internal/queues"
	"genesys-fanout/target"
)

const name = "ingest"

// NewSource makes the source of the connection details.
type NewSource func(genesys.Options) (genesys.Source, error)

// Main runs ingest and returns its exit status.
func Main(newSource NewSource) int {
	return process.Main(name, func(ctx context.Context) error { return run(ctx, newSource) })
}

func run(ctx context.Context, newSource NewSource) error {
	var s settings
	env := process.Environ()
	app := process.App{
		Name:        name,
		Description: "Consume Genesys Cloud events from Kafka and start one Temporal workflow per event.",
		HTTPAddr:    "127.0.0.1:9465",
	}
	done, problems := process.Parse(app, &s, os.Args[1:], env, os.Stdout)
	if done {
		return problems.Err()
	}
	c := s.check(problems)
	lookupEnv := env.LookupEnv
	if !s.eager() {
		lookupEnv = nil // it sends no request
	}
	targets, err := target.Load(s.Targets, lookupEnv)
	problems.AddError(err)
	temporal := process.TemporalOptions(env, problems)
	if err := problems.Err(); err != nil {
		return err
	}
	if s.Check {
		return process.Report(os.Stdout, name, append(process.SettingsInEffect(&s), temporal.Settings()...), targets)
	}
	log := process.Logger(os.Stderr, s.LogLevel, s.LogFormat)
	process.CaptureStandardLog(log, targets.Redact)
	i := instance{settings: &s, checked: c, env: env, targets: targets, temporal: temporal, newSource: newSource, log: log}
	if s.Preflight {
		return i.tryEverything(ctx)
	}
	return i.run(ctx)
}

// drainLimit is how long a stop waits for starts in flight. The last of them may
// bring a first attempt, which takes the longest target timeout and
// queues.StopSlack; a second is left for what comes after.
const drainLimit = process.StopSlack - queues.StopSlack - time.Second

// instance is one run of the process with valid settings.
type instance struct {
	settings  *settings
	checked   checked
	env       process.Env
	targets   *target.Set
	temporal  process.Temporal
	newSource NewSource
	log       *slog.Logger
}

func (i *instance) run(ctx context.Context) error {
	return process.StopWithin(ctx, process.StopLimit(i.targets), i.log, func(ctx context.Context, stop *process.Stop) error {
		return i.serve(ctx, stop, i.log)
	})
}

func (i *instance) serve(ctx context.Context, stop *process.Stop, log *slog.Logger) error {
	process.WarnTracing(log, i.env)
	registry := process.NewRegistry()
	checks := []string{process.CheckTemporal, ingest.CheckKafka}
	var polls *process.Polls
	if i.settings.eager() { // only then it polls for workflow tasks
		polls = process.NewPolls(i.settings.TaskQueue)
		checks = append(checks, process.CheckQueues)
	}
	health := process.NewHealth(checks...)
	server, err := process.Listen(ctx, i.settings.HTTPAddr, registry, health)
	if err != nil {
		return err
	}
	defer server.Close()

	source, err := i.source(log)
	if err != nil {
		return err
	}
	connect := i.connect(source, log)
	first, err := connect(ctx) // a refusal by Genesys is told before Temporal is waited for
	if err != nil {
		return err
	}
	metrics, err := process.TemporalMetrics(registry, log)
	if err != nil {
		return err
	}
	temporal, err := process.Dial(ctx, process.Connection{
		Temporal: i.temporal, DataConverter: fanout.DataConverter(), Metrics: metrics, Log: log, Health: health, Polls: polls,
	})
	if err != nil {
		return err
	}
	defer temporal.Close()
	namespace := i.temporal.Options.Namespace
	attributes, err := process.EnsureSearchAttributes(ctx, temporal, namespace, fanout.SearchAttributeKeys(), log)
	if err != nil {
		return err
	}
	go process.Watch(ctx, temporal, namespace, health, log)

	recallQueue, stopFirstAttempts := "", func() {}
	if i.settings.eager() {
		recallQueue = fanout.RecallQueue(i.settings.TaskQueue, uuid.NewString())
		if stopFirstAttempts, err = i.firstAttempts(temporal, recallQueue, registry, stop, log); err != nil {
			return err
		}
		go polls.Watch(ctx, health, log)
	}
	defer stopFirstAttempts()

	log.Info("ingest consumes", "http", server.Addr(), "brokers", first.BootstrapServers, "topics", first.Topics, "group", i.settings.KafkaGroupID)
	in, err := ingest.New(ingest.Options{
		Connect: withFirst(first, connect),
		GroupID: i.settings.KafkaGroupID,
		Reset:   i.settings.KafkaAutoOffsetReset,
		Targets: i.targets,
		EventID: i.checked.eventID,
		Starter: ingest.Temporal{
			Client: temporal, TaskQueue: i.settings.TaskQueue, RecallQueue: recallQueue,
		},
		MaxStarts:        i.checked.maxStarts,
		DrainLimit:       drainLimit,
		Drained:          func() { go stopFirstAttempts() },
		SearchAttributes: attributes.Usable,
		Metrics:          registry,
		Health:           health,
		Log:              log,
	})
	if err != nil {
		return err
	}
	defer stop.Part("Kafka's consumer group", "Kafka did not answer in time; messages whose commit is missing are read again and found to be duplicates")()
	return in.Run(ctx)
}

// firstAttempts begins to run the first task of each run in this process, on the
// client that starts it, and to answer for it on recallQueue. end may be called
// more than once; it returns when what is in flight has ended.
func (i *instance) firstAttempts(temporal client.Client, recallQueue string, registry prometheus.Registerer, stop *process.Stop, log *slog.Logger) (end func(), err error) {
	history := activities.History{Client: temporal, Namespace: i.temporal.Options.Namespace, DataConverter: fanout.DataConverter()}
	process := queues.Process{
		Client: temporal, TaskQueue: i.settings.TaskQueue, Targets: i.targets, Log: log,
		Activities: activities.New(activities.Options{Targets: i.targets, Runs: history, Metrics: registry, Logger: log}),
	}
	recalls, runs := process.Recalls(recallQueue), process.Runs(registry)
	ended := stop.Part("Temporal's task queues", queues.Unfinished)
	if err := recalls.Start(); err != nil {
		return nil, fmt.Errorf("start polling Temporal: %w", err)
	}
	if err := runs.Start(); err != nil {
		recalls.Stop()
		return nil, fmt.Errorf("start polling Temporal: %w", err)
	}
	return sync.OnceFunc(func() {
		defer ended()
		var both sync.WaitGroup
		both.Go(recalls.Stop)
		both.Go(runs.Stop)
		both.Wait()
	}), nil
}

// genesysPatience is how long a Genesys API that is busy or away is waited for.
const genesysPatience = 5 * time.Minute

// source is nil where the brokers are configured.
func (i *instance) source(log *slog.Logger) (genesys.Source, error) {
	if i.settings.static() {
		return nil, nil //nolint:nilnil // no source is what the settings ask for
	}
	return i.newSource(i.settings.genesysOptions(log))
}

// connect reads the connection details: from Genesys, or from the settings,
// whose secrets may be in files that have changed since.
func (i *instance) connect(source genesys.Source, log *slog.Logger) func(context.Context) (ingest.Connection, error) {
	return func(ctx context.Context) (ingest.Connection, error) {
		s, c := i.reread(log)
		if source == nil {
			return s.connection(genesys.ConnectionDetails{}, c), nil
		}
		details, err := genesys.WaitForDetails(ctx, source, genesysPatience, log)
		return s.connection(details, c), err
	}
}

// reread reads the secrets of Kafka again. What cannot be read stays as it was.
func (i *instance) reread(log *slog.Logger) (settings, checked) {
	s, c := *i.settings, i.checked
	if password, err := i.env.Secret("KAFKA_SASL_PASSWORD"); err != nil {
		log.Error("a secret could not be read again; keeping the last one", "error", err)
	} else if password.IsSet() {
		s.KafkaSASLPassword = password
	}
	options, err := i.env.Secret("KAFKA_OPTIONS")
	if err == nil && options.IsSet() {
		var extra map[string]string
		if extra, err = parseOptions(options.Reveal()); err == nil {
			if err = ingest.CheckExtra(extra); err == nil {
				c.extra = extra
			}
		}
	}
	if err != nil {
		log.Error("KAFKA_OPTIONS could not be read again; keeping the last ones", "error", err)
	}
	return s, c
}

// withFirst answers the first call with what is known already.
func withFirst(first ingest.Connection, connect func(context.Context) (ingest.Connection, error)) func(context.Context) (ingest.Connection, error) {
	known := true
	return func(ctx context.Context) (ingest.Connection, error) {
		if known {
			known = false
			return first, nil
		}
		return connect(ctx)
	}
}
