package activities

import (
	"net/http"
	"slices"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/retryafter"
)

// defaultThrottle is the shortest wait after a 429 that names no wait, or a wait that cannot be
// read. The backoff of the delivery may be longer.
const defaultThrottle = 2 * time.Second

// decision is the meaning of an answer for the delivery and for its target.
type decision struct {
	verdict    fanout.Verdict
	retryAfter time.Duration // the backoff of this delivery is at least this long

	// The consequences for the target, and so for all its deliveries.
	closeGateFor time.Duration // how long the gate stays closed; 0 if it stays open
	throttled    bool          // true if the answer was a 429, after which the gate opens slowly
	unavailable  bool          // true if the answer counts towards the breaker
}

// classify decides what an answer means. If there was no answer, err is the error of the
// transport, and status and header are zero. maxRetryAfter bounds each wait that a target asks
// for. If a target asks for a wait in several headers, the longest one counts, because each is
// a floor.
func classify(status int, header http.Header, err error, retryStatuses []int, maxRetryAfter time.Duration, now time.Time) decision {
	if err != nil {
		return decision{verdict: fanout.Retry, unavailable: true}
	}
	throttled := status == http.StatusTooManyRequests
	retryAfter, hasRetryAfter := retryafter.Parse(header, now)
	reset, usedUp := retryafter.RateLimit(header, throttled && !hasRetryAfter, now)
	wait := max(retryAfter, reset)
	if throttled && !hasRetryAfter && !usedUp {
		wait = defaultThrottle
	}
	wait, reset = min(wait, maxRetryAfter), min(reset, maxRetryAfter)

	d := decision{verdict: verdictOf(status, retryStatuses), closeGateFor: reset, throttled: throttled}
	if d.verdict == fanout.Retry {
		d.retryAfter = wait
		d.unavailable = !throttled
	}
	if throttled {
		d.closeGateFor = wait
	}
	return d
}

// verdictOf decides by the status alone. A 407 is always retried, because a proxy sent it and
// not the target: the credentials of the proxy are wrong or have expired.
func verdictOf(status int, retryStatuses []int) fanout.Verdict {
	switch {
	case fanout.IsSuccess(status):
		return fanout.Delivered
	case status == http.StatusProxyAuthRequired, slices.Contains(retryStatuses, status):
		return fanout.Retry
	}
	return fanout.Rejected
}
