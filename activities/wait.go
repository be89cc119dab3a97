package activities

import (
	"fmt"
	"math/rand/v2"
	"time"

	"genesys-fanout/target"
)

// jitter spreads the retries of one outage, upward only, because a Retry-After is
// a floor.
const jitter = 0.1

// Wait is the shortest time until a delivery's next attempt, or until it asks again
// for one if the target is held back, and the reason for it.
type Wait struct {
	Least target.Duration `json:"least"`
	Why   string          `json:"why"`
}

// backoff is the wait before the attempt that follows the n-th, at least as long as
// the target asked for.
func (d Delivery) backoff(n int, asked time.Duration) Wait {
	if own := d.Policy.Backoff.After(n); own >= asked {
		return Wait{target.Duration(own), "the backoff"}
	}
	return Wait{target.Duration(asked), "asked for by the target"}
}

// jittered is the wait with its jitter.
func (w Wait) jittered() time.Duration {
	return time.Duration(float64(w.Least) * (1 + jitter*rand.Float64()))
}

// Expired is why a delivery is given up that would have to wait so long, of whose
// maxAge only so much is left. It is empty if the wait fits.
func (w Wait) Expired(left time.Duration, maxAge target.Duration) string {
	switch {
	case left <= 0:
		return "max_age has passed"
	case time.Duration(w.Least) > left:
		return fmt.Sprintf("a wait of %s (%s) is longer than the %s that are left of max_age %s",
			readable(time.Duration(w.Least)), w.Why, readable(left), maxAge)
	}
	return ""
}

// readable drops the digits of a duration that nobody reads.
func readable(d time.Duration) time.Duration {
	if d >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
