// Command deadletter lists, shows and replays the deliveries that were given up,
// closes those that nobody will send, and deletes old records that are closed.
//
// It never closes a record that it sends again: the run that delivers it does.
package main

import (
	"context"
	"errors"
	"os"

	"genesys-fanout/deadletter"
	"genesys-fanout/internal/process"
)

const name = "deadletter"

// settings are what deadletter takes from flags and environment.
type settings struct {
	process.Commands
	DeadLetters string `env:"FANOUT_DEAD_LETTERS" default:"./dead-letters" help:"Tracker directory, that of worker."`
	Targets     string `env:"FANOUT_TARGETS" default:"targets.yaml" help:"Targets file: replay sends under its policies."`
	TaskQueue   string `env:"FANOUT_TASK_QUEUE" default:"genesys-fanout" help:"Workflow task queue, that of worker."`
	UI          string `env:"TEMPORAL_UI_URL" placeholder:"URL" help:"Temporal UI, for links; by default http://127.0.0.1:8080, with Temporal Cloud https://cloud.temporal.io."`

	List   listCommand   `cmd:"" help:"List open dead letters, and count them by target and reason."`
	Show   showCommand   `cmd:"" help:"Show one in full, with its run in Temporal UI and how to replay it."`
	Replay replayCommand `cmd:"" help:"Send dead letters again, and wait for what becomes of them."`

	Discard discardCommand `cmd:"" help:"Close dead letters that nobody will send: one, or those of a filter."`
	Prune   pruneCommand   `cmd:"" help:"Delete old records that are resolved, superseded or discarded; never an open one."`
}

func main() {
	os.Exit(process.Main(name, func(ctx context.Context) error {
		return run(ctx, os.Args[1:], process.Environ(), standardConsole())
	}))
}

// invocation is one call of the command.
type invocation struct {
	settings
	env      process.Env
	console  console
	problems *process.Problems
}

func run(ctx context.Context, args []string, env process.Env, c console) error {
	i := invocation{env: env, console: c}
	app := process.App{Name: name, Description: "List, show, replay, discard and prune deliveries of Genesys Cloud events that were given up."}
	command, done, problems := process.ParseCommand(app, &i.settings, args, env, c.out)
	if done {
		return problems.Err()
	}
	i.problems = problems
	var err error
	switch command {
	case "list":
		err = i.list(ctx)
	case "show":
		err = i.show(ctx)
	case "replay":
		err = i.replay(ctx)
	case "discard":
		err = i.discard(ctx)
	case "prune":
		err = i.prune(ctx)
	}
	// A signal is no success here: what was asked for is not done.
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped")
	}
	return err
}

// tracker opens the directory of dead letters; nil after a problem.
func (i *invocation) tracker() *deadletter.Directory {
	const cure = "name the directory into which worker writes dead letters"
	if i.DeadLetters == "off" {
		i.problems.Add("FANOUT_DEAD_LETTERS", "is off", cure)
		return nil
	}
	tracker, err := deadletter.OpenExisting(i.DeadLetters)
	if err != nil {
		i.problems.Add("FANOUT_DEAD_LETTERS", err.Error(), cure)
	}
	return tracker
}
