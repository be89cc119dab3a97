package target

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWarnings_NameSettingsThatSurprise checks that each warning has a position and a cure,
// and that the file is accepted.
func TestWarnings_NameSettingsThatSurprise(t *testing.T) {
	const (
		no5xx = "contains no 5xx status, so an answer such as 503 makes the event a dead letter at once; add the statuses that are transient for this target, such as [408, 425, 429, 500, 502, 503, 504]"
		no429 = "does not contain 429, so an event that meets the target's rate limit becomes a dead letter at once; add 429"
	)
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"the defaults": {`
targets:
  - name: a
    url: http://a
`, []string{"f:3:5: targets[0].retry_statuses: " + no5xx}},
		"statuses": {`
targets:
  - name: a
    url: http://a
    retry_statuses: [429]
  - name: b
    url: http://b
    retry_statuses: [503]
  - name: c
    url: http://c
    retry_statuses: []
`, []string{
			"f:5:21: targets[0].retry_statuses: " + no5xx,
			"f:8:21: targets[1].retry_statuses: " + no429,
			"f:11:21: targets[2].retry_statuses: " + no5xx,
			"f:11:21: targets[2].retry_statuses: " + no429,
		}},
		"ages": {`
targets:
  - name: a
    url: http://a
    retry_statuses: [429, 503]
    max_attempts: 20
    max_age: 1h
  - name: b
    url: http://b
    retry_statuses: [429, 503]
    max_age: 10m
  - name: c
    url: http://c
    retry_statuses: [429, 503]
    max_retry_after: 30h
  - name: d
    url: http://d
    retry_statuses: [429, 503]
    max_attempts: 1000
`, []string{
			"f:7:14: targets[0].max_age: 1h0m0s is shorter than the waits between the 20 attempts of max_attempts: a delivery expires after 19 of them; raise max_age, lower max_attempts to 19, or shorten the backoff",
			"f:11:14: targets[1].max_retry_after: 15m0s is longer than max_age 10m0s: a delivery expires at once if the target asks for so long a wait; lower max_retry_after, or raise max_age",
			"f:15:22: targets[2].max_retry_after: 30h0m0s is longer than max_age 24h0m0s: a delivery expires at once if the target asks for so long a wait; lower max_retry_after, or raise max_age",
			"f:19:19: targets[3].max_age: 24h0m0s is shorter than the waits between the 1000 attempts of max_attempts: a delivery expires after 295 of them; raise max_age, lower max_attempts to 295, or shorten the backoff",
		}},
		"nothing": {`
targets:
  - {name: a, url: "http://a", retry_statuses: [429, 503], max_attempts: 20, max_age: 2h}
  - {name: b, url: "http://b", state: retired}
`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Parse("f", []byte(test.yaml), nil)
			require.NoError(t, err)
			var got []string
			for _, warning := range set.Warnings() {
				got = append(got, warning.Error())
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// TestFitting_EqualsACount compares the result of the formula with a count.
func TestFitting_EqualsACount(t *testing.T) {
	count := func(b Backoff, attempts int, age time.Duration) int {
		var sum time.Duration
		for n := 1; n < attempts; n++ {
			if sum += b.After(n); sum > age {
				return n
			}
		}
		return attempts
	}
	for _, initial := range []time.Duration{time.Millisecond, time.Second, 3 * time.Second, time.Hour} {
		for _, multiplier := range []float64{1, 1.1, 1.5, 2, 3, 1000} {
			for _, longest := range []time.Duration{initial, 7 * time.Second, 5 * time.Minute, 2 * time.Hour} {
				for _, age := range []time.Duration{time.Nanosecond, time.Second + 1, 10*time.Second + 1, time.Hour + 1, 25*time.Hour + 1} {
					for _, attempts := range []int{1, 2, 3, 20, 5000} {
						b := Backoff{Initial: Duration(initial), Multiplier: multiplier, Max: Duration(max(initial, longest))}
						assert.Equal(t, count(b, attempts, age), fitting(b, attempts, age), "%v, %d attempts, %s", b, attempts, age)
					}
				}
			}
		}
	}
	slow := Backoff{Initial: 1, Multiplier: 1 + 1e-9, Max: Duration(maxDuration)}
	assert.Positive(t, fitting(slow, maxAttempts, maxDuration), "however little it grows, it is not counted one by one")
}
