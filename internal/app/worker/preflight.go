package worker

import (
	"context"
	"os"

	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/preflight"
	"genesys-fanout/internal/process"
	"genesys-fanout/target"
)

// tryEverything is --preflight.
func tryEverything(ctx context.Context, s *settings, targets *target.Set, options process.TemporalConfig) error {
	temporal, err := preflight.NewTemporalChecks(options, fanout.SearchAttributeKeys())
	if err != nil {
		return err
	}
	defer temporal.Close()
	checks := temporal.Checks()
	if s.DeadLetters != off {
		checks = append(checks, preflight.Check{Name: "dead letters", Run: func(context.Context) []preflight.Result {
			return []preflight.Result{tryTracker(s.DeadLetters)}
		}})
	}
	return preflight.Report(ctx, os.Stdout, s.JSON, append(checks, preflight.Targets(targets)...))
}

func tryTracker(path string) preflight.Result {
	made, err := deadletter.CheckWritable(path)
	switch {
	case err != nil:
		return preflight.Fail(err.Error(), "name a directory that this process may write in FANOUT_DEAD_LETTERS, or off")
	case !made:
		return preflight.Pass("%s is not there yet: the process makes it at its start", path)
	}
	return preflight.Pass("%s can be written", path)
}
