package activities

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	waiting "genesys-fanout/internal/await"
)

func TestRecentForgetsAnAttemptThatPanicked(t *testing.T) {
	recent := newRecentOutcomes()
	key := recentKey{"run-1", "a", RetryLane}
	always := func(Outcome, error) bool { return true }
	assert.Panics(t, func() {
		_, _ = recent.once(t.Context(), key, func() (Outcome, error) { panic("boom") }, always)
	})
	answered := make(chan Outcome, 1)
	go func() {
		outcome, _ := recent.once(context.Background(), key, func() (Outcome, error) { return Outcome{Verdict: Delivered}, nil }, always)
		answered <- outcome
	}()
	assert.Equal(t, Delivered, waiting.Receive(t, "the answer to the next caller", answered).Verdict)
}

// TestRecall: what was sent is told; what was not is not sent after it either.
func TestRecall(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) }, "  - {name: a, url: $URL}\n")
	recall := func() Outcome {
		env := f.suite.NewTestActivityEnvironment()
		env.RegisterActivity(f.acts.Recall)
		value, err := env.ExecuteActivity(f.acts.Recall, f.delivery())
		require.NoError(t, err)
		var outcome Outcome
		require.NoError(t, value.Get(&outcome))
		return outcome
	}
	require.Equal(t, Held, recall().Verdict)
	require.Equal(t, Held, f.firstAttempt(f.delivery()).Verdict)
	require.Zero(t, requests.Load())

	f = newFixture(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) }, "  - {name: a, url: $URL}\n")
	require.Equal(t, Delivered, f.firstAttempt(f.delivery()).Verdict)
	require.Equal(t, Delivered, recall().Verdict)
	require.EqualValues(t, 1, requests.Load())
}
