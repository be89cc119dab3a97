package retryafter

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// headers returns a header with these pairs of name and value.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestParse_ReadsTheFormsThatServicesSend(t *testing.T) {
	const longest = time.Duration(math.MaxInt64)
	late := noon.Add(-3 * time.Hour) // the sender's clock is three hours slow
	for name, test := range map[string]struct {
		header http.Header
		want   time.Duration
		ok     bool
	}{
		"seconds":                            {headers("Retry-After", "7"), 7 * time.Second, true},
		"zero":                               {headers("Retry-After", "0"), 0, true},
		"a fraction":                         {headers("Retry-After", "1.5"), 1500 * time.Millisecond, true},
		"spaces around":                      {headers("Retry-After", " 7 "), 7 * time.Second, true},
		"more than a duration can hold":      {headers("Retry-After", "99999999999999999999"), longest, true},
		"more than a float can hold":         {headers("Retry-After", strings.Repeat("9", 400)), longest, true},
		"the same twice":                     {headers("Retry-After", "10, 10"), 10 * time.Second, true},
		"several: the first":                 {headers("Retry-After", "10,20"), 10 * time.Second, true},
		"several lines: the first":           {headers("Retry-After", "10", "Retry-After", "20"), 10 * time.Second, true},
		"a date":                             {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 GMT"), 90 * time.Second, true},
		"a date twice":                       {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 GMT, Sat, 14 Mar 2026 12:01:30 GMT"), 90 * time.Second, true},
		"a date in UTC":                      {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 UTC"), 90 * time.Second, true},
		"a date with +0000":                  {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 +0000"), 90 * time.Second, true},
		"a date with an offset":              {headers("Retry-After", "Sat, 14 Mar 2026 14:01:30 +0200"), 90 * time.Second, true},
		"a date with a short day":            {headers("Retry-After", "Sun, 1 Mar 2026 12:01:30 GMT"), 0, true},
		"a date of RFC 850":                  {headers("Retry-After", "Saturday, 14-Mar-26 12:01:30 GMT"), 90 * time.Second, true},
		"a date of asctime":                  {headers("Retry-After", "Sat Mar 14 12:01:30 2026"), 90 * time.Second, true},
		"a date of RFC 3339":                 {headers("Retry-After", "2026-03-14T12:01:30Z"), 90 * time.Second, true},
		"a date that has passed":             {headers("Retry-After", "Sat, 14 Mar 2026 11:00:00 GMT"), 0, true},
		"a date by a clock that is slow":     {headers("Retry-After", late.Add(90*time.Second).Format(http.TimeFormat), "Date", late.Format(http.TimeFormat)), 90 * time.Second, true},
		"a Date in UTC":                      {headers("Retry-After", "Sat, 14 Mar 2026 09:01:30 UTC", "Date", "Sat, 14 Mar 2026 09:00:00 UTC"), 90 * time.Second, true},
		"a Date that is not plausible":       {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 GMT", "Date", "Thu, 01 Jan 1970 00:00:00 GMT"), 90 * time.Second, true},
		"a Date that cannot be read":         {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 GMT", "Date", "today"), 90 * time.Second, true},
		"seconds do not depend on the clock": {headers("Retry-After", "7", "Date", late.Format(http.TimeFormat)), 7 * time.Second, true},
		"missing":                            {headers(), 0, false},
		"empty":                              {headers("Retry-After", ""), 0, false},
		"a word":                             {headers("Retry-After", "soon"), 0, false},
		"below zero":                         {headers("Retry-After", "-5"), 0, false},
		"not a number":                       {headers("Retry-After", "NaN"), 0, false},
		"infinite":                           {headers("Retry-After", "Inf"), 0, false},
		"hexadecimal":                        {headers("Retry-After", "0x10"), 0, false},
		"a date in an unknown zone":          {headers("Retry-After", "Sat, 14 Mar 2026 12:01:30 PST"), 0, false},
		"a list whose first item is empty":   {headers("Retry-After", ",10"), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Parse(test.header, noon)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.ok, ok)
		})
	}
}

func TestRateLimit_ReadsEveryUnitOfUnixTime(t *testing.T) {
	at := noon.Add(4 * time.Second)
	for name, reset := range map[string]string{
		"seconds from now": "4",
		"seconds":          strconv.FormatInt(at.Unix(), 10),
		"milliseconds":     strconv.FormatInt(at.UnixMilli(), 10),
		"microseconds":     strconv.FormatInt(at.UnixMicro(), 10),
		"nanoseconds":      strconv.FormatInt(at.UnixNano(), 10),
		"a fraction":       strconv.FormatInt(at.Unix(), 10) + ".0",
		"a date":           at.Format(http.TimeFormat),
	} {
		for _, family := range []string{"X-RateLimit-", "RateLimit-"} {
			wait, ok := RateLimit(headers(family+"Remaining", "0", family+"Reset", reset), false, noon)
			assert.True(t, ok, name)
			assert.InDelta(t, 4, wait.Seconds(), 1e-6, name)
		}
	}
}

func TestRateLimit_OnlyALimitThatIsUsedUpCounts(t *testing.T) {
	slow := noon.Add(-time.Hour) // by the sender's clock
	for name, test := range map[string]struct {
		header    http.Header
		throttled bool
		want      time.Duration
		ok        bool
	}{
		"used up":                                {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "12"), false, 12 * time.Second, true},
		"overdrawn":                              {headers("X-RateLimit-Remaining", "-1", "X-RateLimit-Reset", "12"), false, 12 * time.Second, true},
		"used up, listed twice":                  {headers("X-RateLimit-Remaining", "0, 0", "X-RateLimit-Reset", "12, 12"), false, 12 * time.Second, true},
		"some left":                              {headers("X-RateLimit-Remaining", "3", "X-RateLimit-Reset", "12"), false, 0, false},
		"some left, 429 for another reason":      {headers("X-RateLimit-Remaining", "3", "X-RateLimit-Reset", "12"), true, 0, false},
		"no remaining count":                     {headers("X-RateLimit-Reset", "12"), false, 0, false},
		"no remaining count, but a 429":          {headers("X-RateLimit-Reset", "12"), true, 12 * time.Second, true},
		"no reset":                               {headers("X-RateLimit-Remaining", "0"), false, 0, false},
		"a reset that cannot be read":            {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "soon"), false, 0, false},
		"a reset that has passed":                {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(slow.Unix(), 10)), false, 0, true},
		"two limits: the longest":                {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "3", "RateLimit-Remaining", "0", "RateLimit-Reset", "12"), false, 12 * time.Second, true},
		"two limits: one is used up":             {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "3", "RateLimit-Remaining", "5", "RateLimit-Reset", "12"), false, 3 * time.Second, true},
		"by a slow clock":                        {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(slow.Add(4*time.Second).Unix(), 10), "Date", slow.Format(http.TimeFormat)), false, 4 * time.Second, true},
		"the largest number of seconds from now": {headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1000000000"), false, 1_000_000_000 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := RateLimit(test.header, test.throttled, noon)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.ok, ok)
		})
	}
}

// Whatever a target sends, a wait is never negative, a wait that cannot be read is zero, and whole
// seconds are read exactly.
func FuzzWaits(f *testing.F) {
	for _, seed := range []string{
		"", "7", "1.5", "10, 10", "99999999999999999999", "-1", "NaN", "1e9", "1773489600000",
		"Sat, 14 Mar 2026 12:01:30 GMT", "Sat, 14 Mar 2026 12:01:30 +0000", "Saturday, 14-Mar-26 12:01:30 GMT", "2026-03-14T12:01:30Z", ",,,", ";",
	} {
		f.Add(seed, seed, "0", seed)
	}
	f.Fuzz(func(t *testing.T, retryAfter, date, remaining, reset string) {
		h := headers("Retry-After", retryAfter, "Date", date, "X-RateLimit-Remaining", remaining, "X-RateLimit-Reset", reset)
		wait, ok := Parse(h, noon)
		if wait < 0 || !ok && wait != 0 {
			t.Errorf("Retry-After %q (Date %q): %s, %t", retryAfter, date, wait, ok)
		}
		if n, err := strconv.ParseUint(retryAfter, 10, 32); err == nil && (!ok || wait != time.Duration(n)*time.Second) {
			t.Errorf("Retry-After %q: %s, %t", retryAfter, wait, ok)
		}
		for _, throttled := range []bool{false, true} {
			if wait, ok := RateLimit(h, throttled, noon); wait < 0 || !ok && wait != 0 {
				t.Errorf("reset %q (Date %q, remaining %q): %s, %t", reset, date, remaining, wait, ok)
			}
		}
	})
}
