// Package retryafter reads how long the sender of an HTTP answer wants no further
// request: from Retry-After (RFC 9110, section 10.2.3) and from the rate-limit
// headers that are widespread without being a standard, X-RateLimit-Remaining
// with X-RateLimit-Reset, and the same two without "X-" (draft-ietf-httpapi-
// ratelimit-headers, up to version 7).
//
// The package reads more than RFC 9110 allows, because services send more. It
// refuses to decide: how long a wait may be at most, and what it means for a
// delivery, is decided by the caller.
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

// Parse returns the wait that Retry-After asks for, never below zero. ok is false
// if the header is missing or cannot be read. The value is a number of seconds or
// a date; if it lists several, the first one counts. A date is relative to the
// answer's own Date, and a date that has passed is a wait of zero.
func Parse(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := header.Get("Retry-After")
	if seconds, ok := number(value); ok {
		return duration(seconds, time.Second), true
	}
	if at, ok := date(value); ok {
		return max(0, at.Sub(clock(header, now))), true
	}
	return 0, false
}

// RateLimit returns how long it takes until a rate limit that is used up is reset,
// never below zero. ok is false if no limit is used up, or if its reset cannot be
// read. If several limits are used up, the longest wait counts, because it is a
// floor. throttled says that the answer is a 429 without another wait: it proves
// that a limit is used up, so a reset then counts also if the answer does not say
// what remains.
func RateLimit(header http.Header, throttled bool, now time.Time) (wait time.Duration, ok bool) {
	for _, family := range []string{"X-RateLimit-", "RateLimit-"} {
		if !usedUp(header.Get(family+"Remaining"), throttled) {
			continue
		}
		if reset, readable := untilReset(header.Get(family+"Reset"), clock(header, now)); readable {
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

// untilReset reads a number of seconds from now, a moment in Unix time, or a date.
func untilReset(value string, now time.Time) (time.Duration, bool) {
	amount, ok := number(value)
	if !ok {
		at, ok := date(value)
		return max(0, at.Sub(now)), ok
	}
	unit, epoch := unixUnit(amount)
	wait := duration(amount, unit)
	if epoch {
		wait = max(0, wait-time.Duration(now.UnixNano()))
	}
	return wait, true
}

// unixUnit decides by its size in which unit a number counts. Up to 1,000,000,000
// it is seconds from now: as Unix time that would be 2001. A larger one is Unix
// time. The steps between its units lie in the year 5138 of the smaller unit and
// in 1973 of the larger one, so that no date of our time is near one of them.
func unixUnit(amount float64) (unit time.Duration, epoch bool) {
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

// duration is amount × unit. If it is too long for a time.Duration, it becomes the
// longest one: every caller has a bound of its own that is far below.
func duration(amount float64, unit time.Duration) time.Duration {
	const longest = time.Duration(math.MaxInt64)
	if amount >= float64(longest)/float64(unit) {
		return longest
	}
	return time.Duration(amount * float64(unit))
}

var unsigned = regexp.MustCompile(`^[0-9]+(\.[0-9]*)?$`)

// number reads a number that is not negative, the first one of a list.
func number(value string) (float64, bool) {
	value = first(value)
	if !unsigned.MatchString(value) {
		return 0, false
	}
	amount, err := strconv.ParseFloat(value, 64)
	return amount, err == nil || errors.Is(err, strconv.ErrRange) // then it is infinite
}

// first is the first item of a list, without its parameters.
func first(list string) string {
	if end := strings.IndexAny(list, ",;"); end >= 0 {
		list = list[:end]
	}
	return strings.TrimSpace(list)
}

// The forms of a date beside the three of RFC 9110. Any other name of a time zone
// is refused, because Go would take it for UTC.
var dates = []string{
	"Mon, 2 Jan 2006 15:04:05 UTC",
	"Mon, 2 Jan 2006 15:04:05 GMT",
	"Mon, 2 Jan 2006 15:04:05 -0700",
	time.RFC3339,
}

// date reads a date, the first one of a list. Most forms have a comma of their
// own, so a list is cut at its second comma.
func date(value string) (time.Time, bool) {
	parts := strings.SplitN(value, ",", 3)
	for n := min(len(parts), 2); n > 0; n-- {
		text := strings.TrimSpace(strings.Join(parts[:n], ","))
		if at, err := http.ParseTime(text); err == nil {
			return at, true
		}
		for _, form := range dates {
			if at, err := time.Parse(form, text); err == nil {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

// sane is how far the sender's clock may be from ours. A clock that keeps local
// time as UTC is up to 14 hours off; a Date that is a day off was made up, as by a
// stub that replays a recorded answer.
const sane = 24 * time.Hour

// clock is the time at which the answer was made by the clock of its sender. Every
// moment that an answer names is by that clock, which may be wrong. Without a Date
// that makes sense, it is now.
func clock(header http.Header, now time.Time) time.Time {
	at, ok := date(header.Get("Date"))
	if !ok || at.Sub(now).Abs() > sane {
		return now
	}
	return at
}
