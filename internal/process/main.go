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
	ExitDone    = 0 // success
	ExitFailure = 1 // a failure while running
	ExitUsage   = 2 // a setting or a file is wrong
)

// ExitError is an error that ends the process with the status Code. Any other error ends it
// with ExitFailure.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the text of Err.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Main runs a process and returns its exit status. A main function is
// os.Exit(process.Main("worker", run)).
//
// The first SIGTERM or SIGINT cancels the context of run, which then stops gracefully and
// returns nil. A second signal ends the process at once with ExitFailure. Main prints the
// error of run to standard error. It prints wrong settings unchanged, one per line, and any
// other error behind the name of the process.
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

// exitStatus prints err and returns the status. context.Canceled is not a failure if a signal
// arrived, because run may return it if the signal arrives while the process starts.
func exitStatus(name string, stderr io.Writer, err error, signaled bool) int {
	if err == nil || signaled && errors.Is(err, context.Canceled) {
		return ExitDone
	}
	exitErr, ok := errors.AsType[*ExitError](err)
	if !ok {
		exitErr = &ExitError{Code: ExitFailure, Err: err}
	}
	if exitErr.Code == ExitUsage {
		_, _ = fmt.Fprintln(stderr, err)
	} else {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	return exitErr.Code
}
