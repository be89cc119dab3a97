package process

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mostDays is the largest number of days in a duration. It is 136 years, and the largest
// time.Duration is 292 years.
const mostDays = 50_000

// ParseDuration parses a duration as time.ParseDuration does, and also accepts whole days
// before it, as in 90d or 1d12h. A day has 24 hours.
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
