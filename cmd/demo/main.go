// Command demo runs the whole fan-out on this machine. It starts a Temporal dev server, a
// Kafka broker, a Genesys stand-in and three targets, runs the real worker and ingest beside
// them, publishes 200 events, and checks that each of them arrived once or is a dead letter.
//
// "demo serve" runs only the parts that docker-compose.temporal.yml has no image for: the
// Genesys stand-in and the three targets. It publishes one event a second.
//
// The files of the command:
//
//	demo.go       the steps of the demo
//	processes.go  start and stop worker and ingest, with free ports
//	progress.go   the table of progress
//	summary.go    the checks at the end
//	targets.go    how the three targets answer
//	serve.go      demo serve
package main

import (
	"context"
	"fmt"
	"os"

	"genesys-fanout/internal/process"
)

func main() { os.Exit(process.Main("demo", run)) }

func run(ctx context.Context) error {
	switch {
	case len(os.Args) == 1:
		return runDemo(ctx)
	case os.Args[1] == "serve":
		return serve(ctx, os.Args[2:])
	}
	return &process.ExitError{Code: process.ExitUsage, Err: fmt.Errorf("demo: %q is not a command; run demo without arguments, or demo serve --help", os.Args[1])}
}
