package fanout

import (
	"fmt"
	"time"

	"genesys-fanout/target"
)

// maxAgePassed begins the error of a delivery that expired because no time was left.
const maxAgePassed = "max_age has passed"

// Wait is the shortest time until a delivery's next attempt, and the reason for it. If the
// delivery is held back, it is the time until the delivery asks again for a permit.
type Wait struct {
	Least target.Duration `json:"least"`
	Why   string          `json:"why"`
}

// Expired returns why a delivery is given up if the wait is longer than what is left of
// maxAge. It is empty if the wait fits.
func (w Wait) Expired(left time.Duration, maxAge target.Duration) string {
	switch {
	case left <= 0:
		return maxAgePassed
	case time.Duration(w.Least) > left:
		return fmt.Sprintf("a wait of %s (%s) is longer than the %s that are left of max_age %s",
			readable(time.Duration(w.Least)), w.Why, readable(left), maxAge)
	}
	return ""
}

// readable rounds a duration to seconds, or to milliseconds if it is below 10 s.
func readable(d time.Duration) time.Duration {
	if d >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
