// Package worker is the process that runs FanOut: it delivers events to their targets,
// and keeps dead letters. Command reads settings and runs the process; New and Run are
// for a program that has the Options, such as a test.
package worker

import (
	"context"
	"os"

	"genesys-fanout/internal/process"
	"genesys-fanout/target"
)

// Name is the name of the process.
const Name = "worker"

// settings are what worker takes from flags and environment.
type settings struct {
	process.Shared
	DeadLetters string `env:"FANOUT_DEAD_LETTERS" default:"./dead-letters" help:"Tracker directory, one for all workers; off: this worker leaves dead letters to others."`
}

// off is the value of FANOUT_DEAD_LETTERS that keeps no tracker.
const off = "off"

// Command is the process for process.Main: it reads flags and environment, and does
// what they ask for until the context ends.
func Command(ctx context.Context) error {
	var s settings
	env := process.Environ()
	app := process.App{
		Name:        Name,
		Description: "Deliver Genesys Cloud events from Temporal to the targets, and keep dead letters.",
		HTTPAddr:    "127.0.0.1:9464",
	}
	done, problems := process.Parse(app, &s, os.Args[1:], env, os.Stdout)
	if done {
		return problems.Err()
	}
	targets, err := target.Load(s.Targets, env.LookupEnv)
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
	if s.Preflight {
		return tryEverything(ctx, &s, targets, temporal)
	}
	return New(Options{
		TaskQueue:   s.TaskQueue,
		HTTPAddr:    s.HTTPAddr,
		DeadLetters: s.DeadLetters,
		Targets:     targets,
		Temporal:    temporal,
		Log:         log,
		Env:         env,
	}).Run(ctx)
}
