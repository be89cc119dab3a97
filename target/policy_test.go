package target

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBackoff_WaitsAfterEachAttempt(t *testing.T) {
	seconds := func(n float64) Duration { return Duration(n * float64(time.Second)) }
	tutorial := Backoff{seconds(2), 2, seconds(300)}
	for _, tc := range []struct {
		backoff  Backoff
		attempts int
		want     time.Duration
	}{
		{tutorial, 1, 2 * time.Second},
		{tutorial, 2, 4 * time.Second},
		{tutorial, 8, 256 * time.Second},
		{tutorial, 9, 300 * time.Second},
		{tutorial, 1 << 40, 300 * time.Second},
		{tutorial, 0, 2 * time.Second},
		{tutorial, math.MinInt, 2 * time.Second},
		{Backoff{seconds(2), 1, seconds(300)}, 1000, 2 * time.Second},
		{Backoff{seconds(1), 1.5, seconds(300)}, 3, 2250 * time.Millisecond},
		{Backoff{seconds(2), 1000, math.MaxInt64}, math.MaxInt, math.MaxInt64},
		{Backoff{0, math.Inf(1), seconds(3)}, 2, 3 * time.Second},
		{Backoff{seconds(2), math.NaN(), seconds(3)}, 2, 3 * time.Second},
		{Backoff{-5, 2, -3}, 4, 0},
		{Backoff{}, 4, 0},
	} {
		assert.Equal(t, tc.want, tc.backoff.After(tc.attempts), "%+v after %d", tc.backoff, tc.attempts)
	}
}

func TestNormalized_FillsInMissingValues(t *testing.T) {
	want := defaultPolicy()
	want.Target, want.FastLane = "a", false
	assert.Equal(t, want, Policy{Target: "a"}.Normalized())

	raised := Policy{Backoff: Backoff{Initial: Duration(time.Hour), Max: Duration(time.Second)}}.Normalized()
	assert.Equal(t, Duration(time.Hour), raised.Backoff.Max)
	raised = Policy{Backoff: Backoff{Initial: Duration(time.Hour)}}.Normalized()
	assert.Equal(t, Duration(time.Hour), raised.Backoff.Max)
}

func TestNormalized_ReturnsAPolicyThatTemporalAccepts(t *testing.T) {
	odd := []int64{0, 1, -1, math.MinInt64, math.MaxInt64, int64(time.Second), int64(time.Hour), int64(maxDuration), int64(maxDuration) + 1}
	factors := []float64{0, 1, -1, 0.99, 2, math.NaN(), math.Inf(1), math.Inf(-1), 1000, 1001}
	pick := func(r *rand.Rand) Duration { return Duration(odd[r.IntN(len(odd))]) }
	r := rand.New(rand.NewPCG(1, 2)) // makes the same policies on every run
	for range 20_000 {
		p := Policy{
			MaxAttempts: int(odd[r.IntN(len(odd))]), Timeout: pick(r), MaxRetryAfter: pick(r), MaxAge: pick(r),
			Backoff: Backoff{Initial: pick(r), Multiplier: factors[r.IntN(len(factors))], Max: pick(r)},
		}
		n := p.Normalized()
		require.Equal(t, n, n.Normalized())
		for _, d := range []Duration{n.Timeout, n.MaxRetryAfter, n.MaxAge, n.Backoff.Initial, n.Backoff.Max} {
			require.Positive(t, d, "%+v", p)
			require.LessOrEqual(t, d, Duration(maxDuration), "%+v", p)
		}
		require.GreaterOrEqual(t, n.Backoff.Max, n.Backoff.Initial, "%+v", p)
		require.True(t, n.Backoff.Multiplier >= 1 && n.Backoff.Multiplier <= 1000, "%+v", p)
		require.True(t, n.MaxAttempts >= 1 && n.MaxAttempts <= math.MaxInt32, "%+v", p)
		wait := n.Backoff.After(r.IntN(100))
		require.True(t, wait > 0 && wait <= time.Duration(n.Backoff.Max), "%+v", p)
	}
}

// TestParse_ReturnsPoliciesThatTemporalAccepts parses random legal files. Whatever they contain or
// leave out, Temporal accepts the policy, and Normalized does not change it.
func TestParse_ReturnsPoliciesThatTemporalAccepts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4)) // makes the same files on every run
	duration := func() string {
		return fmt.Sprintf("%d%s", 1+r.IntN(90), []string{"ms", "s", "m", "h"}[r.IntN(4)])
	}
	raised := 0
	for range 3_000 {
		var lines strings.Builder
		maybe := func(format string, args ...any) {
			if r.IntN(2) == 0 {
				fmt.Fprintf(&lines, format+"\n", args...)
			}
		}
		maybe("max_attempts: %d", 1+r.IntN(100))
		switch initial := duration(); r.IntN(4) {
		case 0:
			fmt.Fprintf(&lines, "backoff: {initial: %s}\n", initial)
		case 1:
			fmt.Fprintf(&lines, "backoff: {max: 90h, initial: %s, multiplier: %.2f}\n", initial, 1+r.Float64()*10)
		case 2:
			fmt.Fprintf(&lines, "backoff: {max: %d%s}\n", 2+r.IntN(9), []string{"s", "m", "h"}[r.IntN(3)])
		}
		maybe("timeout: %s", duration())
		maybe("retry_statuses: [%d, %d]", 100+r.IntN(500), 100+r.IntN(500))
		maybe("max_retry_after: %s", duration())
		maybe("max_age: %s", duration())
		maybe("max_concurrency: %d", 1+r.IntN(1000))
		maybe("rate_limit: %d.%d/%s", 1+r.IntN(500), r.IntN(10), []string{"s", "m"}[r.IntN(2)])
		maybe("state: %s", []State{Active, Paused, Retired}[r.IntN(3)])
		got := parseOne(t, lines.String())
		checkLegal(t, got)
		if got.Policy.Backoff.Max == got.Policy.Backoff.Initial {
			raised++
		}
		if t.Failed() {
			t.Fatal(lines.String())
		}
	}
	assert.Positive(t, raised, "no file had an initial backoff above the default max")
}

func TestPolicy_ReadsWellAsJSON(t *testing.T) {
	p := parseOne(t, "").Policy
	data, err := json.Marshal(p)
	require.NoError(t, err)
	assert.JSONEq(t, `{"target":"a","max_attempts":3,"backoff":{"initial":"2s","multiplier":2,"max":"5m0s"},
		"timeout":"5s","max_retry_after":"15m0s","max_age":"24h0m0s","fast_lane":true}`, string(data))
	var back Policy
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, p, back)
	require.Error(t, json.Unmarshal([]byte(`{"timeout":"5"}`), &back))
}
