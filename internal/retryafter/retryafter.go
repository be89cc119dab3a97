// Package retryafter reads from an HTTP answer how long its sender wants no further request. It
// reads Retry-After (RFC 9110, section 10.2.3), and the rate-limit headers that many services
// send although they are not a standard: X-RateLimit-Remaining with X-RateLimit-Reset, and the
// same two without "X-" (draft-ietf-httpapi-ratelimit-headers, up to version 7).
//
// The package reads more forms than RFC 9110 allows, because services send them. It refuses to
// decide: the caller bounds the wait, and knows what it means for a delivery.
package retryafter

import (
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Parse returns the wait that Retry-After asks for. It is never negative. ok is false if the
// header is missing or cannot be read. The value is a number of seconds or a date; if it is a
// list, its first item counts. A date is compared with the answer's own Date. If it has passed,
// the wait is zero.
func Parse(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := header.Get("Retry-After")
	if seconds, ok := parseNumber(value); ok {
		return duration(seconds, time.Second), true
	}
	if at, ok := parseDate(value); ok {
		return max(0, at.Sub(senderTime(header, now))), true
	}
	return 0, false
}

// RateLimit returns the time until a rate limit that is used up is reset. It is never negative. ok
// is false if no limit is used up, or if the reset cannot be read. If several limits are used
// up, the longest wait counts, because each is a floor. throttled is true if the answer is a 429
// without a Retry-After. Such an answer proves that a limit is used up, so the reset counts also
// if the answer does not say how many requests remain.
func RateLimit(header http.Header, throttled bool, now time.Time) (wait time.Duration, ok bool) {
	for _, family := range []string{"X-RateLimit-", "RateLimit-"} {
		if !usedUp(header.Get(family+"Remaining"), throttled) {
			continue
		}
		if reset, readable := untilReset(header.Get(family+"Reset"), senderTime(header, now)); readable {
			wait, ok = max(wait, reset), true
		}
	}
	return wait, ok
}

func usedUp(remaining string, throttled bool) bool {
	if remaining = strings.TrimSpace(remaining); remaining == "" {
		return throttled
	}
	left, err := strconv.ParseFloat(first(remaining), 64)
	return err == nil && left <= 0
}

// untilReset returns the wait until a reset. The value is a number of seconds from now, a Unix
// time, or a date.
func untilReset(value string, now time.Time) (time.Duration, bool) {
	amount, ok := parseNumber(value)
	if !ok {
		at, ok := parseDate(value)
		return max(0, at.Sub(now)), ok
	}
	unit, isUnixTime := unitOf(amount)
	wait := duration(amount, unit)
	if isUnixTime {
		wait = max(0, wait-time.Duration(now.UnixNano()))
	}
	return wait, true
}

// unitOf returns the unit of a number, which it recognises by its size. Up to 1,000,000,000 the
// number counts seconds from now, because as a Unix time it would be in 2001. A larger number is
// a Unix time. Each bound between two units is the year 5138 in the larger unit and 1973 in the
// smaller one, so no date of our time is near a bound.
func unitOf(amount float64) (unit time.Duration, isUnixTime bool) {
	switch {
	case amount <= 1e9:
		return time.Second, false
	case amount < 1e11:
		return time.Second, true
	case amount < 1e14:
		return time.Millisecond, true
	case amount < 1e17:
		return time.Microsecond, true
	}
	return time.Nanosecond, true
}

// duration returns amount × unit. If that is too long for a time.Duration, it returns the longest
// one, because each caller has a bound of its own that is much shorter.
func duration(amount float64, unit time.Duration) time.Duration {
	const longest = time.Duration(math.MaxInt64)
	if amount >= float64(longest)/float64(unit) {
		return longest
	}
	return time.Duration(amount * float64(unit))
}

var unsigned = regexp.MustCompile(`^[0-9]+(\.[0-9]*)?$`)

// parseNumber parses the first item of a list as a number that is not negative.
func parseNumber(value string) (float64, bool) {
	value = first(value)
	if !unsigned.MatchString(value) {
		return 0, false
	}
	amount, err := strconv.ParseFloat(value, 64)
	return amount, err == nil || errors.Is(err, strconv.ErrRange) // out of range means that amount is infinite
}

// first returns the first item of a list, without its parameters.
func first(list string) string {
	if end := strings.IndexAny(list, ",;"); end >= 0 {
		list = list[:end]
	}
	return strings.TrimSpace(list)
}

// dateFormats are the formats of a date in addition to the three of RFC 9110. A date with any
// other name of a time zone is not read, because Go would treat the unknown name as UTC.
var dateFormats = []string{
	"Mon, 2 Jan 2006 15:04:05 UTC",
	"Mon, 2 Jan 2006 15:04:05 GMT",
	"Mon, 2 Jan 2006 15:04:05 -0700",
	time.RFC3339,
}

// parseDate parses the first item of a list as a date. Most formats have a comma of their own, so
// the list is cut at its second comma.
func parseDate(value string) (time.Time, bool) {
	parts := strings.SplitN(value, ",", 3)
	for n := min(len(parts), 2); n > 0; n-- {
		text := strings.TrimSpace(strings.Join(parts[:n], ","))
		if at, err := http.ParseTime(text); err == nil {
			return at, true
		}
		for _, format := range dateFormats {
			if at, err := time.Parse(format, text); err == nil {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// maxClockDifference is how far the sender's clock may be from ours. A clock that reports local
// time as UTC is up to 14 hours off. A Date that is more than a day off does not come from a
// clock, for example because a stub replays a recorded answer.
const maxClockDifference = 24 * time.Hour

// senderTime returns the time of the answer by its sender's clock, because each time in the
// answer is by that clock, which may be wrong. If the answer has no plausible Date, senderTime
// returns now.
func senderTime(header http.Header, now time.Time) time.Time {
	at, ok := parseDate(header.Get("Date"))
	if !ok || at.Sub(now).Abs() > maxClockDifference {
		return now
	}
	return at
}
