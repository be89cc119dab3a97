package activities

import (
	"net/http"
	"slices"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/retryafter"
)

// defaultThrottle is the shortest wait after a 429 that asks for none, or for one
// that cannot be read. The backoff of the delivery may be longer.
const defaultThrottle = 2 * time.Second

// decision is the meaning of an answer for the delivery and for its target.
type decision struct {
	verdict    fanout.Verdict
	retryAfter time.Duration // floor under the backoff of this delivery

	// The consequences for the target, and so for all its deliveries.
	throttle    time.Duration // the gate stays closed for this long
	throttled   bool          // the answer was a 429: the gate reopens slowly
	unavailable bool          // the answer counts towards the breaker
}

// classify decides what an answer means. If the transport failed, err is its error
// and status and header are zero. maxRetryAfter bounds every wait that a target
// may ask for. If a target asks in several headers, the longest wait counts,
// because each one is a floor.
func classify(status int, header http.Header, err error, retryStatuses []int, maxRetryAfter time.Duration, now time.Time) decision {
	if err != nil {
		return decision{verdict: fanout.Retry, unavailable: true}
	}
	throttled := status == http.StatusTooManyRequests
	asked, stated := retryafter.Parse(header, now)
	reset, usedUp := retryafter.RateLimit(header, throttled && !stated, now)
	wait := max(asked, reset)
	if throttled && !stated && !usedUp {
		wait = defaultThrottle
	}
	wait, reset = min(wait, maxRetryAfter), min(reset, maxRetryAfter)

	d := decision{verdict: verdictOf(status, retryStatuses), throttle: reset, throttled: throttled}
	if d.verdict == fanout.Retry {
		d.retryAfter = wait
		d.unavailable = !throttled
	}
	if throttled {
		d.throttle = wait
	}
	return d
}

// verdictOf decides by the status alone. A 407 comes from a proxy in between, so
// it says nothing of the event: the proxy's credentials are wrong or have expired.
func verdictOf(status int, retryStatuses []int) fanout.Verdict {
	switch {
	case status >= 200 && status <= 299:
		return fanout.Delivered
	case status == http.StatusProxyAuthRequired, slices.Contains(retryStatuses, status):
		return fanout.Retry
	}
	return fanout.Rejected
}
