// Package target reads targets.yaml: which microservices want events, which
// events each of them wants, and under which policy a delivery to it is tried,
// held back and given up.
//
// The package refuses to send anything and to guess: a file with one wrong line
// is refused whole, with every wrong line named by path, line, column and cure.
// Secrets are resolved from the environment here and never printed.
package target

import (
	"time"
)

// State says whether a target takes part.
type State string

// The states of a target.
const (
	Active  State = "active"  // chosen and served
	Paused  State = "paused"  // chosen, but its queue waits
	Retired State = "retired" // no longer chosen; what waits for it is dead-lettered
)

// Target is one downstream microservice as targets.yaml describes it, with
// defaults filled in and secrets resolved. Only Policy ever enters Temporal.
type Target struct {
	Policy         Policy
	URL            string            // absolute http or https; may carry credentials: print it with RedactedURL
	RetryStatuses  []int             // answers that may pass; sorted
	MaxConcurrency int               // requests in flight per process, both lanes together
	RateLimit      float64           // requests per second over all workers; 0 means no limit
	State          State             //
	Headers        map[string]string // resolved: may hold secrets
	when           *condition        // nil: every event
}

// Name is the target's unique name, [a-z0-9-]{1,40}.
func (t *Target) Name() string { return t.Policy.Target }

// Policy is the part of a target that a FanOut run carries with it, so that the
// run replays the same whatever targets.yaml says later.
type Policy struct {
	Target        string   `json:"target"`
	MaxAttempts   int      `json:"max_attempts"` // requests in all, both lanes together; at least 1
	Backoff       Backoff  `json:"backoff"`
	Timeout       Duration `json:"timeout"`         // one attempt
	MaxRetryAfter Duration `json:"max_retry_after"` // a longer Retry-After is cut to this
	MaxAge        Duration `json:"max_age"`         // from the start of the run; then the delivery is given up
	FastLane      bool     `json:"fast_lane"`       // false: every attempt is made in the retry lane
}

// Backoff is the wait between two attempts: Initial × Multiplier^(n-1) after the
// n-th, at most Max.
type Backoff struct {
	Initial    Duration `json:"initial"`
	Multiplier float64  `json:"multiplier"`
	Max        Duration `json:"max"` // never below Initial: Temporal refuses such a policy for ever
}

// Duration is a time.Duration that is written as people write it ("2s", "5m"),
// in targets.yaml and in Temporal UI alike.
type Duration time.Duration

// MarshalText writes the duration in Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's notation.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}
