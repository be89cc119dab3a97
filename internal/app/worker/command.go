// Package worker is the process that runs the workflow FanOut. It delivers events to their
// targets, and records dead letters. Command reads the settings and runs the process. New and
// Run are for a program that has the Options already, such as a test.
//
// The package decides nothing about an event. It composes the packages that do.
package worker

import (
	"context"
	"os"

	"genesys-fanout/internal/process"
	"genesys-fanout/target"
)

// Name is the name of the process.
const Name = "worker"

// Command is the function that process.Main runs. It reads flags and environment, and prints
// --help, --version or --check, makes the checks of --preflight, or runs a Worker until ctx
// ends.
func Command(ctx context.Context) error {
	var s settings
	env := process.Environ()
	app := process.App{
		Name:        Name,
		Description: "Deliver Genesys Cloud events from Temporal to the targets, and record dead letters.",
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
		return runPreflight(ctx, &s, targets, temporal)
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
