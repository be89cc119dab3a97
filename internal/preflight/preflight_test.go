package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// resultAfter returns a check that returns the result after the wait, or a failed one if its
// context ends first.
func resultAfter(wait time.Duration, result Result) func(context.Context) []Result {
	return func(ctx context.Context) []Result {
		select {
		case <-time.After(wait):
			return []Result{result}
		case <-ctx.Done():
			return []Result{Fail("the time is over", "hurry")}
		}
	}
}

// ignoresContext returns a check that returns after the wait, even if its context ends first.
func ignoresContext(wait time.Duration) func(context.Context) []Result {
	return func(context.Context) []Result {
		time.Sleep(wait) // within synctest
		return []Result{Pass("late")}
	}
}

// record makes the checks, and records each result with the time at which Run emitted it.
func record(ctx context.Context, checks ...Check) (lines []string, at []time.Duration, results []Result) {
	began := time.Now()
	results = Run(ctx, checks, func(r Result) {
		lines = append(lines, r.Check+" "+string(r.Status))
		at = append(at, time.Since(began))
	})
	return lines, at, results
}

// TestRun_EmitsResultsInOrderAsSoonAsTheyAreKnown checks that the checks run concurrently, and
// that each result is emitted as soon as it and all results before it are known.
func TestRun_EmitsResultsInOrderAsSoonAsTheyAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, at, results := record(t.Context(),
			Check{Name: "a", Run: resultAfter(3*time.Second, Pass("a"))},
			Check{Name: "b", Run: resultAfter(time.Second, Pass("b"))},
			Check{Name: "c", Run: resultAfter(5*time.Second, Warn("c", "d"))},
			Check{Name: "d", After: []string{"c"}, Run: resultAfter(2*time.Second, Pass("d"))},
		)
		assert.Equal(t, []string{"a ok", "b ok", "c warning", "d ok"}, lines)
		assert.Equal(t, []time.Duration{3 * time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second}, at)
		require.NoError(t, FailedChecks(t.Context(), results))
	})
}

// A check with several results counts as failed if none of them is OK or a warning.
func TestRun_SkipsChecksThatDependOnAFailedOne(t *testing.T) {
	three := func(statuses ...Status) func(context.Context) []Result {
		return func(context.Context) []Result {
			var all []Result
			for i, status := range statuses {
				all = append(all, Result{Check: string(rune('x' + i)), Status: status, Detail: "said", Cure: "c"})
			}
			return all
		}
	}
	lines, _, results := record(t.Context(),
		Check{Name: "bad", Run: three(Failed, Skipped)},
		Check{Name: "half", Run: three(Failed, Warning)},
		Check{Name: "after bad", After: []string{"half", "bad"}, Run: three(OK)},
		Check{Name: "after half", After: []string{"half"}, Run: three(OK)},
		Check{Name: "after it", After: []string{"after bad"}, Run: three(OK)},
	)
	assert.Equal(t, []string{"x failed", "y skipped", "x failed", "y warning", "after bad skipped", "x ok", "after it skipped"}, lines)
	assert.Equal(t, Result{Check: "after bad", Status: Skipped, Detail: "waits for bad"}, results[4])
	assert.Equal(t, "waits for after bad", results[6].Detail)
	require.EqualError(t, FailedChecks(t.Context(), results), "preflight: 2 of 7 failed: x, x")
}

// TestRun_EndsWithin30Seconds checks the bound of each check, of a check that ignores its
// context, and of all checks together.
func TestRun_EndsWithin30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, at, results := record(t.Context(),
			Check{Name: "slow", Run: resultAfter(time.Minute, Pass("no"))},
			Check{Name: "patient", Bound: 21 * time.Second, Run: resultAfter(20*time.Second, Pass("yes"))},
			Check{Name: "ignores context", After: []string{"patient"}, Run: ignoresContext(time.Minute)},
			Check{Name: "too late", After: []string{"patient"}, Bound: time.Minute, Run: resultAfter(time.Minute, Pass("no"))},
			Check{Name: "never", After: []string{"too late"}, Run: resultAfter(0, Pass("no"))},
		)
		assert.Equal(t, []string{"slow failed", "patient ok", "ignores context failed", "too late failed", "never skipped"}, lines)
		assert.Equal(t, 10*time.Second, at[0])
		assert.Equal(t, totalBound+grace, at[2])
		assert.Less(t, at[4], 30*time.Second)
		assert.Equal(t, "no answer within 8s", results[2].Detail)
		time.Sleep(time.Minute) // until the check has ended
	})
}

func TestReport_EndsWithASignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		var out bytes.Buffer
		err := Report(ctx, &out, false, []Check{
			{Name: "quick", Run: resultAfter(time.Second, Pass("yes"))},
			{Name: "slow", Run: resultAfter(time.Minute, Pass("no"))},
			{Name: "next", After: []string{"slow"}, Run: resultAfter(0, Pass("no"))},
		})
		require.EqualError(t, err, "preflight: interrupted")
		require.NotErrorIs(t, err, context.Canceled, "which would end the process with 0")
		assert.Equal(t, "ok       quick: yes\nskipped  slow: interrupted\nskipped  next: waits for slow\n", out.String())
	})
}

func TestReport_PrintsLinesOrOneArray(t *testing.T) {
	checks := []Check{
		{Name: "one", Run: resultAfter(0, Pass("well"))},
		{Name: "two", Run: resultAfter(0, Fail("line one\nline <two>", "do\tthis"))},
	}
	var out bytes.Buffer
	require.EqualError(t, Report(t.Context(), &out, false, checks), "preflight: 1 of 2 failed: two")
	assert.Equal(t, "ok       one: well\nfailed   two: line one line <two>; do this\n", out.String())
	out.Reset()
	require.EqualError(t, Report(t.Context(), &out, true, checks), "preflight: 1 of 2 failed: two")
	var results []Result
	require.NoError(t, json.Unmarshal(out.Bytes(), &results))
	assert.Equal(t, []Result{{"one", OK, "well", ""}, {"two", Failed, "line one line <two>", "do this"}}, results)
	assert.Contains(t, out.String(), `"cure": ""`)
}
