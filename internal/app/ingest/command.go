// Package ingest is the process around genesys-fanout/ingest: its settings, its connections,
// and their order at start and stop. Command reads settings and runs the process; New and Run
// are for a program that has the Options, such as a test.
//
// The process is not in cmd/ingest, so that another module can run the same process with
// another genesys.Source.
//
// The package refuses to decide anything about an event.
package ingest

import (
	"context"
	"log/slog"
	"os"
	"time"

	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/process"
	"genesys-fanout/target"
)

// Name is the name of the process.
const Name = "ingest"

// NewSource returns the source of the connection details.
type NewSource func(genesys.Options) (genesys.Source, error)

// Command returns the function that process.Main runs. It reads flags and environment
// variables, and runs the process until the context ends.
func Command(newSource NewSource) func(context.Context) error {
	return func(ctx context.Context) error { return run(ctx, newSource) }
}

func run(ctx context.Context, newSource NewSource) error {
	var s settings
	env := process.Environ()
	app := process.App{
		Name:        Name,
		Description: "Consume Genesys Cloud events from Kafka and start one Temporal workflow per event.",
		HTTPAddr:    "127.0.0.1:9465",
	}
	done, problems := process.Parse(app, &s, os.Args[1:], env, os.Stdout)
	if done {
		return problems.Err()
	}
	checked := s.check(problems)
	lookupEnv := env.LookupEnv
	if !s.eager() {
		lookupEnv = nil // without first attempts, no secret of a target is needed
	}
	targets, err := target.Load(s.Targets, lookupEnv)
	problems.AddError(err)
	temporal := process.ParseTemporal(env, problems)
	if err := problems.Err(); err != nil {
		return err
	}
	if s.Check {
		return process.Report(os.Stdout, Name, append(process.SettingsInEffect(&s), temporal.Settings()...), targets)
	}
	log := process.Logger(os.Stderr, s.LogLevel, s.LogFormat)
	process.CaptureStandardLog(log, targets.Redact)
	c := configuration{settings: &s, checked: checked, env: env, targets: targets, temporal: temporal, newSource: newSource, log: log}
	if s.Preflight {
		return c.runPreflight(ctx)
	}
	source, err := c.source(log)
	if err != nil {
		return err
	}
	return New(Options{
		TaskQueue:   s.TaskQueue,
		HTTPAddr:    s.HTTPAddr,
		Eager:       s.eager(),
		MaxStarts:   checked.maxStarts,
		Connect:     c.connect(source, log),
		GroupID:     s.KafkaGroupID,
		OffsetReset: s.KafkaAutoOffsetReset,
		EventID:     checked.eventID,
		Targets:     targets,
		Temporal:    temporal,
		Log:         log,
		Env:         env,
	}).Run(ctx)
}

// configuration is the valid settings of one process, with everything that they refer to.
type configuration struct {
	settings  *settings
	checked   checked
	env       process.Env
	targets   *target.Set
	temporal  process.TemporalConfig
	newSource NewSource
	log       *slog.Logger
}

// genesysPatience is how long ingest waits for a Genesys API that is busy or does not answer.
const genesysPatience = 5 * time.Minute

// source returns the source of the connection details, or nil if the settings name the brokers.
func (c *configuration) source(log *slog.Logger) (genesys.Source, error) {
	if c.settings.static() {
		return nil, nil //nolint:nilnil // the settings need no source
	}
	return c.newSource(c.settings.genesysOptions(log))
}

// connect returns the function that reads the connection: from the Genesys API, or from the
// settings, whose secrets may be in files that have changed.
func (c *configuration) connect(source genesys.Source, log *slog.Logger) func(context.Context) (ingest.Connection, error) {
	return func(ctx context.Context) (ingest.Connection, error) {
		s, read := c.reread(log)
		if source == nil {
			return s.connection(genesys.ConnectionDetails{}, read), nil
		}
		details, err := genesys.WaitForDetails(ctx, source, genesysPatience, log)
		return s.connection(details, read), err
	}
}

// reread reads the secrets of Kafka again. A secret that cannot be read keeps its last value.
func (c *configuration) reread(log *slog.Logger) (settings, checked) {
	s, read := *c.settings, c.checked
	if password, err := c.env.Secret("KAFKA_SASL_PASSWORD"); err != nil {
		log.Error("KAFKA_SASL_PASSWORD could not be read again; keeping the last value", "error", err)
	} else if password.IsSet() {
		s.KafkaSASLPassword = password
	}
	options, err := c.env.Secret("KAFKA_OPTIONS")
	if err == nil && options.IsSet() {
		var extra map[string]string
		if extra, err = parseOptions(options.Reveal()); err == nil {
			if err = ingest.CheckExtra(extra); err == nil {
				read.extra = extra
			}
		}
	}
	if err != nil {
		log.Error("KAFKA_OPTIONS could not be read again; keeping the last value", "error", err)
	}
	return s, read
}
