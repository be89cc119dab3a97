package activities

import (
	"math/rand/v2"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// jitter spreads the retries of one outage, upward only, because a Retry-After is
// a floor.
const jitter = 0.1

// backoff is the wait before the attempt that follows the n-th, at least as long as
// the target asked for.
func backoff(d fanout.DeliverInput, n int, asked time.Duration) fanout.Wait {
	if own := d.Policy.Backoff.After(n); own >= asked {
		return fanout.Wait{Least: target.Duration(own), Why: "the backoff"}
	}
	return fanout.Wait{Least: target.Duration(asked), Why: "asked for by the target"}
}

// jittered returns the wait with its jitter.
func jittered(w fanout.Wait) time.Duration {
	return time.Duration(float64(w.Least) * (1 + jitter*rand.Float64()))
}
