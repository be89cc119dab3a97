package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit statuses of every process.
const (
	ExitDone    = 0 // what was asked for is done
	ExitFailure = 1 // a failure while running
	ExitUsage   = 2 // settings or files are wrong
)

// ExitError ends the process with a status of its own; any other error ends it
// with ExitFailure.
type ExitError struct {
	Code int
	Err  error
}

// Error is the message of what went wrong.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap gives what went wrong.
func (e *ExitError) Unwrap() error { return e.Err }

// Main runs a process and returns its exit status: os.Exit(process.Main("worker", run)).
//
// SIGTERM and SIGINT cancel the context given to run, which then stops
// gracefully and returns nil; a second signal ends the process at once with
// ExitFailure. What run returns is printed to standard error: wrong settings
// one per line as they are, a failure behind the process's name.
func Main(name string, run func(ctx context.Context) error) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	return supervise(name, signals, os.Exit, os.Stderr, run)
}

func supervise(name string, signals <-chan os.Signal, exit func(int), stderr io.Writer, run func(context.Context) error) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			exit(ExitFailure)
		case <-done:
		}
	}()
	return exitStatus(name, stderr, run(ctx), ctx.Err() != nil)
}

// exitStatus prints err and chooses the status. A process that a signal stopped
// before it was fully up ends with context.Canceled, which is no failure.
func exitStatus(name string, stderr io.Writer, err error, signaled bool) int {
	if err == nil || signaled && errors.Is(err, context.Canceled) {
		return ExitDone
	}
	var exitErr *ExitError
	if !errors.As(err, &exitErr) {
		exitErr = &ExitError{Code: ExitFailure, Err: err}
	}
	if exitErr.Code == ExitUsage {
		_, _ = fmt.Fprintln(stderr, err)
	} else {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	return exitErr.Code
}
