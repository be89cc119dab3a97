package process

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"genesys-fanout/target"
)

const (
	// ShutdownSlack is how long a shutdown may take in addition to the longest timeout of a
	// target. The README promises it.
	ShutdownSlack = 10 * time.Second

	// exitMargin is the part of ShutdownSlack that remains for the last log lines and for the
	// exit itself.
	exitMargin = 500 * time.Millisecond
)

// ShutdownLimit returns the longest time from the signal to the exit.
func ShutdownLimit(targets *target.Set) time.Duration {
	return targets.LongestTimeout() + ShutdownSlack
}

// RunAndShutdown runs a process until ctx ends, and then gives it limit to shut down. If run
// has not returned by then, RunAndShutdown logs the parts of the process that have not ended,
// and returns nil, so the process exits with status 0.
//
// Nothing else bounds a shutdown: the SDKs of Temporal and Kafka wait in many places for a
// server that does not answer, each with a limit of its own.
func RunAndShutdown(ctx context.Context, limit time.Duration, log *slog.Logger, run func(context.Context, *Shutdown) error) error {
	shutdown := &Shutdown{}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, shutdown) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(limit - exitMargin)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		shutdown.report(log, limit)
		return nil
	}
}

// Shutdown contains the parts of a process that must end before the process exits.
type Shutdown struct {
	mu    sync.Mutex
	parts []*part
}

type part struct{ name, meaning string }

// WaitFor adds a part of the process that a shutdown waits for until done is called. meaning
// says what it means for the user if the shutdown is cut off before that.
func (s *Shutdown) WaitFor(name, meaning string) (done func()) {
	one := &part{name, meaning}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = append(s.parts, one)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.parts = slices.DeleteFunc(s.parts, func(other *part) bool { return other == one })
	}
}

// report logs the parts that have not ended.
func (s *Shutdown) report(log *slog.Logger, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const message = "the stop was cut off"
	if len(s.parts) == 0 {
		log.Warn(message, "limit", limit, "unfinished", "start", "meaning", "the process had not finished its start")
	}
	for _, one := range s.parts {
		log.Warn(message, "limit", limit, "unfinished", one.name, "meaning", one.meaning)
	}
}
