package activities

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"genesys-fanout/fanout"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// Each status that is possible gets the verdict that the README gives it.
func TestClassify_EveryStatus(t *testing.T) {
	retryStatuses := []int{429, 502, 503}
	for status := 100; status <= 599; status++ {
		want := fanout.Rejected
		switch {
		case status >= 200 && status <= 299:
			want = fanout.Delivered
		case status == 407, status == 429, status == 502, status == 503:
			want = fanout.Retry
		}
		got := classify(status, http.Header{}, nil, retryStatuses, time.Hour, noon)
		assert.Equal(t, want, got.verdict, "status %d", status)
		assert.Equal(t, want == fanout.Retry && status != 429, got.unavailable, "status %d counts towards the breaker", status)
		assert.Equal(t, status == 429, got.throttled, "status %d", status)
		assert.Equal(t, status == 429, got.closeGateFor > 0, "status %d closes the gate", status)
	}
}

func TestClassify_WaitsAndRateLimits(t *testing.T) {
	const cut = 15 * time.Minute
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	in := func(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }
	epoch := func(d time.Duration) string { return strconv.FormatInt(noon.Add(d).Unix(), 10) }

	for name, test := range map[string]struct {
		status int
		header http.Header
		err    error
		want   decision
	}{
		"connect error":                     {err: errors.New("connection refused"), want: decision{verdict: fanout.Retry, unavailable: true}},
		"429 without a wait":                {status: 429, want: decision{verdict: fanout.Retry, retryAfter: 2 * time.Second, closeGateFor: 2 * time.Second, throttled: true}},
		"429 in seconds":                    {status: 429, header: header("Retry-After", "7"), want: decision{verdict: fanout.Retry, retryAfter: 7 * time.Second, closeGateFor: 7 * time.Second, throttled: true}},
		"429 at a date":                     {status: 429, header: header("Retry-After", in(90*time.Second)), want: decision{verdict: fanout.Retry, retryAfter: 90 * time.Second, closeGateFor: 90 * time.Second, throttled: true}},
		"429 at a past date":                {status: 429, header: header("Retry-After", in(-time.Hour)), want: decision{verdict: fanout.Retry, throttled: true}},
		"429 for too long":                  {status: 429, header: header("Retry-After", "86400"), want: decision{verdict: fanout.Retry, retryAfter: cut, closeGateFor: cut, throttled: true}},
		"429 beyond durations":              {status: 429, header: header("Retry-After", "99999999999999999999"), want: decision{verdict: fanout.Retry, retryAfter: cut, closeGateFor: cut, throttled: true}},
		"429 with nonsense":                 {status: 429, header: header("Retry-After", "soon"), want: decision{verdict: fanout.Retry, retryAfter: 2 * time.Second, closeGateFor: 2 * time.Second, throttled: true}},
		"429 below zero":                    {status: 429, header: header("Retry-After", "-5"), want: decision{verdict: fanout.Retry, retryAfter: 2 * time.Second, closeGateFor: 2 * time.Second, throttled: true}},
		"503 with a wait":                   {status: 503, header: header("Retry-After", "30"), want: decision{verdict: fanout.Retry, unavailable: true, retryAfter: 30 * time.Second}},
		"503 without":                       {status: 503, want: decision{verdict: fanout.Retry, unavailable: true}},
		"400 with a wait":                   {status: 400, header: header("Retry-After", "30"), want: decision{verdict: fanout.Rejected}},
		"redirect":                          {status: 302, header: header("Location", "https://elsewhere.example"), want: decision{verdict: fanout.Rejected}},
		"200 used up":                       {status: 200, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "12"), want: decision{verdict: fanout.Delivered, closeGateFor: 12 * time.Second}},
		"200 used up, epoch":                {status: 200, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(40*time.Second)), want: decision{verdict: fanout.Delivered, closeGateFor: 40 * time.Second}},
		"200 used up, past":                 {status: 200, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", epoch(-40*time.Second)), want: decision{verdict: fanout.Delivered}},
		"200 used up, too long":             {status: 200, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "86400"), want: decision{verdict: fanout.Delivered, closeGateFor: cut}},
		"200 with some left":                {status: 200, header: header("X-RateLimit-Remaining", "3", "X-RateLimit-Reset", "12"), want: decision{verdict: fanout.Delivered}},
		"200 used up, no reset":             {status: 200, header: header("X-RateLimit-Remaining", "0"), want: decision{verdict: fanout.Delivered}},
		"429 and a later reset":             {status: 429, header: header("Retry-After", "5", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "12"), want: decision{verdict: fanout.Retry, retryAfter: 12 * time.Second, closeGateFor: 12 * time.Second, throttled: true}},
		"429 with a reset alone":            {status: 429, header: header("X-RateLimit-Reset", "12"), want: decision{verdict: fanout.Retry, retryAfter: 12 * time.Second, closeGateFor: 12 * time.Second, throttled: true}},
		"429 with a wait and a reset alone": {status: 429, header: header("Retry-After", "1", "X-RateLimit-Reset", "600"), want: decision{verdict: fanout.Retry, retryAfter: time.Second, closeGateFor: time.Second, throttled: true}},
		"429 listed twice":                  {status: 429, header: header("Retry-After", "10, 10"), want: decision{verdict: fanout.Retry, retryAfter: 10 * time.Second, closeGateFor: 10 * time.Second, throttled: true}},
		"429 in milliseconds":               {status: 429, header: header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(noon.Add(4*time.Second).UnixMilli(), 10)), want: decision{verdict: fanout.Retry, retryAfter: 4 * time.Second, closeGateFor: 4 * time.Second, throttled: true}},
		"503 and a used-up limit":           {status: 503, header: header("Retry-After", "5", "RateLimit-Remaining", "0", "RateLimit-Reset", "12"), want: decision{verdict: fanout.Retry, unavailable: true, retryAfter: 12 * time.Second, closeGateFor: 12 * time.Second}},
		"a proxy wants a password":          {status: 407, header: header("Proxy-Authenticate", "Basic"), want: decision{verdict: fanout.Retry, unavailable: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.header == nil {
				test.header = http.Header{}
			}
			assert.Equal(t, test.want, classify(test.status, test.header, test.err, []int{429, 503}, cut, noon))
		})
	}
}

func TestClassify_429ClosesTheGateAlsoIfItIsNotRetried(t *testing.T) {
	got := classify(429, http.Header{}, nil, nil, time.Hour, noon)
	assert.Equal(t, decision{verdict: fanout.Rejected, closeGateFor: defaultThrottle, throttled: true}, got)
}
