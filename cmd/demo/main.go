// Command demo runs the whole fan-out on this machine: embedded parts, the real
// worker and ingest, 200 events, and a summary that checks itself.
//
// "demo serve" runs only the parts that a container engine lacks: a stand-in for
// the Genesys API and the three targets, with an event a second.
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
		return demo(ctx)
	case os.Args[1] == "serve":
		return serve(ctx, os.Args[2:])
	}
	return &process.ExitError{Code: process.ExitUsage, Err: fmt.Errorf("demo: %q is no command; run demo without arguments, or demo serve --help", os.Args[1])}
}
