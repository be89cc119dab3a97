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
	// StopSlack is what a stop may take beyond the longest target timeout, as the
	// README promises.
	StopSlack = 10 * time.Second

	// exitMargin is kept of it for the last log lines and for the exit itself.
	exitMargin = 500 * time.Millisecond
)

// StopLimit is the longest that a stop may take, from the signal to the exit.
func StopLimit(targets *target.Set) time.Duration {
	return targets.LongestTimeout() + StopSlack
}

// StopWithin runs a process until ctx ends, and gives it limit to stop after
// that. A process that has not ended then is left behind: the parts of it that
// are still open are logged, and StopWithin returns nil, so that the caller can
// exit. Nothing else bounds a stop, because the SDKs of Temporal and Kafka wait
// for a server that does not answer in many places, each with a limit of its own.
func StopWithin(ctx context.Context, limit time.Duration, log *slog.Logger, run func(context.Context, *Shutdown) error) error {
	stop := &Shutdown{}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, stop) }()
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
		stop.report(log, limit)
		return nil
	}
}

// Shutdown knows which parts of a process a stop still waits for.
type Shutdown struct {
	mu   sync.Mutex
	open []*part
}

type part struct{ name, meaning string }

// WaitFor notes that a stop waits for a part of the process until done is called.
// meaning says what it means for the user if the stop does not wait any longer.
func (s *Shutdown) WaitFor(name, meaning string) (done func()) {
	one := &part{name, meaning}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, one)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = slices.DeleteFunc(s.open, func(other *part) bool { return other == one })
	}
}

func (s *Shutdown) report(log *slog.Logger, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const message = "the stop was cut off"
	if len(s.open) == 0 {
		log.Warn(message, "limit", limit, "unfinished", "start", "meaning", "the process was not yet up")
	}
	for _, one := range s.open {
		log.Warn(message, "limit", limit, "unfinished", one.name, "meaning", one.meaning)
	}
}
