package activities

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/fanout"
	waiting "genesys-fanout/internal/await"
)

func TestRecentForgetsAnAttemptThatPanicked(t *testing.T) {
	recent := newRecentOutcomes()
	key := attemptKey{"run-1", "a", RetryLane}
	always := func(fanout.Outcome, error) bool { return true }
	assert.Panics(t, func() {
		_, _ = recent.attemptOnce(t.Context(), key, func() (fanout.Outcome, error) { panic("boom") }, always)
	})
	answered := make(chan fanout.Outcome, 1)
	go func() {
		outcome, _ := recent.attemptOnce(context.Background(), key, func() (fanout.Outcome, error) { return fanout.Outcome{Verdict: fanout.Delivered}, nil }, always)
		answered <- outcome
	}()
	assert.Equal(t, fanout.Delivered, waiting.Receive(t, "the answer to the next caller", answered).Verdict)
}

// TestRecall checks that Recall returns the outcome of a first attempt that was made. If
// none was made, none is made after Recall either.
func TestRecall(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) }, "  - {name: a, url: $URL}\n")
	recall := func() fanout.Outcome {
		env := f.suite.NewTestActivityEnvironment()
		env.RegisterActivity(f.acts.Recall)
		value, err := env.ExecuteActivity(f.acts.Recall, fanout.RecallInput{Target: "a"})
		require.NoError(t, err)
		var result fanout.RecallResult
		require.NoError(t, value.Get(&result))
		return result.Outcome
	}
	require.Equal(t, fanout.Held, recall().Verdict)
	require.Equal(t, fanout.Held, f.firstAttempt(f.delivery()).Verdict)
	require.Zero(t, requests.Load())

	f = newFixture(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) }, "  - {name: a, url: $URL}\n")
	require.Equal(t, fanout.Delivered, f.firstAttempt(f.delivery()).Verdict)
	require.Equal(t, fanout.Delivered, recall().Verdict)
	require.EqualValues(t, 1, requests.Load())
}
