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

// runPreflight makes the checks of --preflight and prints the results.
func runPreflight(ctx context.Context, s *settings, targets *target.Set, options process.TemporalConfig) error {
	temporal, err := preflight.NewTemporalChecks(options, fanout.SearchAttributeKeys())
	if err != nil {
		return err
	}
	defer temporal.Close()
	checks := temporal.Checks()
	if s.DeadLetters != noTracker {
		checks = append(checks, preflight.Check{Name: "dead letters", Run: func(context.Context) []preflight.Result {
			return []preflight.Result{checkTracker(s.DeadLetters)}
		}})
	}
	return preflight.Report(ctx, os.Stdout, s.JSON, append(checks, preflight.Targets(targets)...))
}

func checkTracker(path string) preflight.Result {
	exists, err := deadletter.CheckWritable(path)
	switch {
	case err != nil:
		return preflight.Fail(err.Error(), "set FANOUT_DEAD_LETTERS to a directory that this process can write to, or to off")
	case !exists:
		return preflight.Pass("%s does not exist yet; the process creates it at its start", path)
	}
	return preflight.Pass("%s is writable", path)
}
