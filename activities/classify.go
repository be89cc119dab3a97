package activities

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultThrottle is the wait after a 429 that does not say how long.
const defaultThrottle = 2 * time.Second

// decision is what an answer means for the delivery and for its target.
type decision struct {
	verdict    Verdict
	retryAfter time.Duration // floor under the backoff of this delivery

	// What it says of the target, for all its deliveries.
	throttle    time.Duration // the gate stays closed for this long
	throttled   bool          // it was a 429: the reopening slows down
	unavailable bool          // it counts towards the breaker
}

// classify decides what an answer means. err is the transport's error, in which
// case status and header are zero. maxRetryAfter bounds every wait a target may
// ask for.
func classify(status int, header http.Header, err error, retryStatuses []int, maxRetryAfter time.Duration, now time.Time) decision {
	if err != nil {
		return decision{verdict: Retry, unavailable: true}
	}
	var d decision
	switch {
	case status >= 200 && status <= 299:
		d.verdict = Delivered
	case slices.Contains(retryStatuses, status):
		d.verdict = Retry
		d.unavailable = status != http.StatusTooManyRequests
	default:
		d.verdict = Rejected
	}

	retryAfter, stated := parseRetryAfter(header.Get("Retry-After"), now)
	if status == http.StatusTooManyRequests {
		if !stated {
			retryAfter = defaultThrottle
		}
		d.throttled = true
		d.throttle = min(retryAfter, maxRetryAfter)
	}
	if d.verdict == Retry {
		d.retryAfter = min(retryAfter, maxRetryAfter)
	}
	d.throttle = max(d.throttle, min(parseRateLimitReset(header, now), maxRetryAfter))
	return d
}

// parseRetryAfter reads both forms of Retry-After (RFC 9110, section 10.2.3):
// whole seconds and an HTTP-date. A date that has passed is a wait of zero.
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, ok := parseSeconds(value); ok {
		return seconds, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now)), true
	}
	return 0, false
}

// epochFrom is where an X-RateLimit-Reset stops being a number of seconds from
// now and becomes a moment in Unix time: 1,000,000,000 s is September 2001.
const epochFrom = 1_000_000_000 * time.Second

// parseRateLimitReset is how long a target wants no further request, by the
// widespread X-RateLimit headers; zero when it does not say that it is used up.
func parseRateLimitReset(header http.Header, now time.Time) time.Duration {
	remaining, err := strconv.ParseFloat(strings.TrimSpace(header.Get("X-RateLimit-Remaining")), 64)
	if err != nil || remaining > 0 {
		return 0
	}
	reset, ok := parseSeconds(header.Get("X-RateLimit-Reset"))
	if !ok {
		return 0
	}
	if reset > epochFrom {
		return max(0, reset-time.Duration(now.UnixNano()))
	}
	return reset
}

// parseSeconds reads a number of seconds that is not negative. One that is too
// large for a duration becomes the longest duration: it is cut by its reader.
func parseSeconds(value string) (time.Duration, bool) {
	seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !(seconds >= 0) { // NaN is neither
		return 0, false
	}
	const longest = time.Duration(1<<63 - 1)
	if seconds >= longest.Seconds() {
		return longest, true
	}
	return time.Duration(seconds * float64(time.Second)), true
}
