package fanout

import (
	"fmt"
	"time"

	"genesys-fanout/target"
)

// Wait is the shortest time until a delivery's next attempt, or until it asks again
// for one if the target is held back, and the reason for it.
type Wait struct {
	Least target.Duration `json:"least"`
	Why   string          `json:"why"`
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
