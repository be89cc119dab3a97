package activities

import (
	"math/rand/v2"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// jitter is the largest part of a wait that is added to it, so that the retries of one outage
// do not come at the same moment. It only lengthens a wait, because a Retry-After is a floor.
const jitter = 0.1

// backoff returns the wait between the n-th attempt and the next one. It is at least as long as
// the wait that the target asked for.
func backoff(d fanout.DeliverInput, n int, retryAfter time.Duration) fanout.Wait {
	if own := d.Policy.Backoff.After(n); own >= retryAfter {
		return fanout.Wait{Least: target.Duration(own), Why: "the backoff"}
	}
	return fanout.Wait{Least: target.Duration(retryAfter), Why: "asked for by the target"}
}

// withJitter returns the wait with its jitter.
func withJitter(w fanout.Wait) time.Duration {
	return time.Duration(float64(w.Least) * (1 + jitter*rand.Float64()))
}
