package genesys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// The waits between tries double up to the longest: 1, 2, 4, 8, 16, 30, 30 s and so
// on. Each is up to a fifth longer, so that several processes spread out.
const (
	firstWait    = time.Second
	longestWait  = 30 * time.Second
	jitterFactor = 0.2
)

// WaitForDetails tries src until it returns the connection details, for at most
// limit. The wait before a try is never shorter than the RetryAfter of the
// *TransientError before it. WaitForDetails returns at once if src returns a *RejectedError or
// if ctx ends. If no further try fits into limit, it wraps the last error. It writes
// one line to log before each wait; log may be nil.
func WaitForDetails(ctx context.Context, src Source, limit time.Duration, log *slog.Logger) (ConnectionDetails, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	deadline := time.Now().Add(limit)
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	var last error
	for attempt := 0; ; attempt++ {
		details, err := src.ConnectionDetails(bounded)
		switch {
		case err == nil:
			return details, nil
		case errors.As(err, new(*RejectedError)):
			return ConnectionDetails{}, err
		case ctx.Err() != nil:
			return ConnectionDetails{}, fmt.Errorf("genesys: wait for the connection details: %w", context.Cause(ctx))
		case bounded.Err() == nil || last == nil:
			last = err // but not an error that only says that the limit cut the try off
		}
		wait, ok := nextWait(attempt, last, time.Until(deadline)-reservedForLastTry(limit))
		if !ok {
			return ConnectionDetails{}, fmt.Errorf("gave up waiting for Genesys Cloud (limit %s): %w", limit, last)
		}
		log.WarnContext(ctx, "cannot read the connection details from Genesys Cloud; trying again", "wait", wait.Round(time.Millisecond), "attempt", attempt+1, "error", last)
		if err := pause(ctx, wait); err != nil {
			return ConnectionDetails{}, fmt.Errorf("genesys: wait for the connection details: %w", err)
		}
	}
}

// reservedForLastTry returns the part of the limit that waits must leave to the last
// try: the time of a whole request, but at most a tenth of the limit.
func reservedForLastTry(limit time.Duration) time.Duration { return min(requestTimeout, limit/10) }

// nextWait returns the wait after the given number of earlier waits, cut to the time
// that is left. ok is false if the server's Retry-After, or the shortest wait, is
// longer than that.
func nextWait(earlier int, err error, left time.Duration) (wait time.Duration, ok bool) {
	backoff := min(firstWait<<min(earlier, 5), longestWait)
	floor := firstWait
	if transient, ok := errors.AsType[*TransientError](err); ok {
		floor = max(floor, transient.RetryAfter)
	}
	wait = max(backoff, floor)
	wait += time.Duration(rand.Float64() * jitterFactor * float64(wait))
	return min(wait, left), left >= floor
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
