// Command deadletter lists, shows and replays dead letters: deliveries that were given up. It
// discards those that nobody will send, and deletes old ones that are closed.
//
// It does not close a record that it replays, because the run that delivers the event does.
package main

import (
	"context"
	"errors"
	"os"

	"genesys-fanout/deadletter"
	"genesys-fanout/internal/process"
)

const name = "deadletter"

// settings are the settings and commands of deadletter, from flags and environment.
type settings struct {
	process.Commands
	DeadLetters string `env:"FANOUT_DEAD_LETTERS" default:"./dead-letters" help:"Directory of the tracker, the same as for worker."`
	Targets     string `env:"FANOUT_TARGETS" default:"targets.yaml" help:"Targets file. replay sends with its policies."`
	TaskQueue   string `env:"FANOUT_TASK_QUEUE" default:"genesys-fanout" help:"Workflow task queue, the same as for worker."`
	UI          string `env:"TEMPORAL_UI_URL" placeholder:"URL" help:"Address of Temporal UI, for links. Default: http://127.0.0.1:8080, or https://cloud.temporal.io with Temporal Cloud."`

	List   listCommand   `cmd:"" help:"List the open dead letters, and count them by target and reason."`
	Show   showCommand   `cmd:"" help:"Show one open dead letter in full, with a link to its run in Temporal UI and the commands that replay and discard it."`
	Replay replayCommand `cmd:"" help:"Send open dead letters again, and wait for the outcome of each delivery."`

	Discard discardCommand `cmd:"" help:"Close open dead letters that nobody will send: one, or all that the filters choose."`
	Prune   pruneCommand   `cmd:"" help:"Delete old dead letters that are resolved, superseded or discarded, and never an open one."`
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
	app := process.App{Name: name, Description: "List, show, replay, discard and prune dead letters: deliveries of Genesys Cloud events that were given up."}
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
	// Unlike worker and ingest, a command that a signal stops has not done its work.
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped by a signal before the command was done")
	}
	return err
}

// openTracker opens the directory of dead letters. If it cannot be opened, that is added to
// the problems, and the result is nil.
func (i *invocation) openTracker() *deadletter.Tracker {
	const cure = "set it to the directory into which worker writes dead letters"
	if i.DeadLetters == "off" {
		i.problems.Add("FANOUT_DEAD_LETTERS", "is off, so there are no dead letters to read", cure)
		return nil
	}
	tracker, err := deadletter.OpenExisting(i.DeadLetters)
	if err != nil {
		i.problems.Add("FANOUT_DEAD_LETTERS", err.Error(), cure)
	}
	return tracker
}
