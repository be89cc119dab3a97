package process

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mostDays bounds the days of a duration: 136 years, far below what time.Duration
// holds.
const mostDays = 50_000

// ParseDuration reads a duration as time.ParseDuration does, with whole days before
// it if there are any: d is 24 h, as in 90d or 1d12h.
func ParseDuration(value string) (time.Duration, error) {
	digits, rest, found := strings.Cut(value, "d") // no other unit has a d
	if !found {
		return time.ParseDuration(value)
	}
	days, err := strconv.Atoi(digits)
	if err != nil || days < 0 || days > mostDays {
		return 0, fmt.Errorf("%q must be a whole number of days from 0 to %d", digits, mostDays)
	}
	part := time.Duration(0)
	if rest != "" {
		part, err = time.ParseDuration(rest)
	}
	if err != nil || part < 0 || part > mostDays*24*time.Hour {
		return 0, fmt.Errorf("%q must be a duration such as 12h or 30m", rest)
	}
	return time.Duration(days)*24*time.Hour + part, nil
}
