package genesys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// The waits between tries double from the first to the last, 1, 2, 4, 8, 16,
// 30, 30 s …, each up to a fifth longer so that several processes spread out.
const (
	firstWait    = time.Second
	longestWait  = 30 * time.Second
	jitterFactor = 0.2
)

// Wait asks src until it gives the details, and waits between tries for at
// most limit in all. A *Temporary's RetryAfter is a floor under the wait. A
// *Refusal and the end of ctx are returned at once; at the limit, or as soon as
// no further try fits under it, the last error is returned wrapped. Each wait
// writes one line to log, which may be nil.
func Wait(ctx context.Context, src Source, limit time.Duration, log *slog.Logger) (ConnectionDetails, error) {
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
		case errors.As(err, new(*Refusal)):
			return ConnectionDetails{}, err
		case ctx.Err() != nil:
			return ConnectionDetails{}, fmt.Errorf("genesys: wait for the connection details: %w", context.Cause(ctx))
		case bounded.Err() == nil || last == nil:
			last = err // what the limit itself cut off says less than the error before it
		}
		wait, ok := nextWait(attempt, last, time.Until(deadline)-lastTry(limit))
		if !ok {
			return ConnectionDetails{}, fmt.Errorf("gave up waiting for Genesys (limit %s): %w", limit, last)
		}
		log.WarnContext(ctx, "Genesys gave no connection details, trying again", "wait", wait.Round(time.Millisecond), "attempt", attempt+1, "error", last)
		if err := pause(ctx, wait); err != nil {
			return ConnectionDetails{}, fmt.Errorf("genesys: wait for the connection details: %w", err)
		}
	}
}

// lastTry is what is kept of the limit for the last try: a whole request, but
// no more than a tenth.
func lastTry(limit time.Duration) time.Duration { return min(requestTimeout, limit/10) }

// nextWait is the wait after the given number of earlier waits, cut to what is
// left. ok is false where the server's wish, or the shortest wait, is longer.
func nextWait(earlier int, err error, left time.Duration) (wait time.Duration, ok bool) {
	backoff := min(firstWait<<min(earlier, 5), longestWait)
	floor := firstWait
	var temporary *Temporary
	if errors.As(err, &temporary) {
		floor = max(floor, temporary.RetryAfter)
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
