package target

import (
	"math"
	"time"
)

// Policy is the part of a target that a FanOut run carries in its input. Because it is in the
// input, a replay of the run takes the same decisions even if targets.yaml has changed since.
type Policy struct {
	Target        string   `json:"target"`
	MaxAttempts   int      `json:"max_attempts"` // requests in all, both lanes together; at least 1
	Backoff       Backoff  `json:"backoff"`
	Timeout       Duration `json:"timeout"`         // the longest that one attempt may take
	MaxRetryAfter Duration `json:"max_retry_after"` // a longer Retry-After is cut to this
	MaxAge        Duration `json:"max_age"`         // how long after the start of the run the delivery is given up
	FastLane      bool     `json:"fast_lane"`       // if false, every attempt is made in the retry lane
}

// Backoff is the wait between two attempts. After the n-th attempt it is
// Initial × Multiplier^(n-1), but at most Max.
type Backoff struct {
	Initial    Duration `json:"initial"`
	Multiplier float64  `json:"multiplier"`
	Max        Duration `json:"max"` // never below Initial, because Temporal rejects such a policy for ever
}

// The defaults of targets.yaml.
const (
	defaultMaxConcurrency = 64
	defaultRetryStatus    = 429
)

func defaultPolicy() Policy {
	return Policy{
		MaxAttempts: 3,
		Backoff: Backoff{
			Initial:    Duration(2 * time.Second),
			Multiplier: 2,
			Max:        Duration(5 * time.Minute),
		},
		Timeout:       Duration(5 * time.Second),
		MaxRetryAfter: Duration(15 * time.Minute),
		MaxAge:        Duration(24 * time.Hour),
		FastLane:      true,
	}
}

// The bounds of a policy. They prevent an overflow in every sum and product of its durations,
// and in the timestamps that Temporal's server makes of them.
const (
	maxDuration   = 10 * 365 * 24 * time.Hour
	maxAttempts   = math.MaxInt32
	maxMultiplier = 1000
)

// Normalized returns the policy without values that Temporal would reject or that
// would block a run: a value that is zero or out of bounds becomes the default, and
// a Max below Initial becomes Initial. The policies of a Set are normalized already,
// but those in the input of a run that was started by hand may not be.
func (p Policy) Normalized() Policy {
	d := defaultPolicy()
	if p.MaxAttempts < 1 || p.MaxAttempts > maxAttempts {
		p.MaxAttempts = d.MaxAttempts
	}
	p.Backoff.Initial = p.Backoff.Initial.or(d.Backoff.Initial)
	p.Backoff.Max = max(p.Backoff.Max.or(d.Backoff.Max), p.Backoff.Initial)
	if !legalMultiplier(p.Backoff.Multiplier) {
		p.Backoff.Multiplier = d.Backoff.Multiplier
	}
	p.Timeout = p.Timeout.or(d.Timeout)
	p.MaxRetryAfter = p.MaxRetryAfter.or(d.MaxRetryAfter)
	p.MaxAge = p.MaxAge.or(d.MaxAge)
	return p
}

// legalMultiplier reports whether m is within the bounds. NaN is not.
func legalMultiplier(m float64) bool { return m >= 1 && m <= maxMultiplier }

// After returns the wait after the given number of attempts:
// Initial × Multiplier^(attempts-1), but at most Max. A number below 1 counts as 1.
func (b Backoff) After(attempts int) time.Duration {
	wait := float64(b.Initial) * math.Pow(b.Multiplier, float64(max(attempts, 1)-1))
	// The waits are compared as floats, because the value of a float64 may not fit a
	// Duration. A NaN (0 × Inf) is not less than any number, so it becomes Max as well.
	if wait < float64(b.Max) {
		return max(time.Duration(wait), 0)
	}
	return max(time.Duration(b.Max), 0)
}

// Duration is a time.Duration that is written as people write it ("2s", "5m"), both in
// targets.yaml and in Temporal UI.
type Duration time.Duration

// or returns d if it is a legal duration of a policy, and otherwise other.
func (d Duration) or(other Duration) Duration {
	if d <= 0 || d > Duration(maxDuration) {
		return other
	}
	return d
}

// MarshalText writes the duration in Go's notation, such as "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration in Go's notation.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}

// String returns the duration in Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }
