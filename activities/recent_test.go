package activities

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
)

func TestAttemptOnce_ForgetsAnAttemptThatPanicked(t *testing.T) {
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
	assert.Equal(t, fanout.Delivered, await.Receive(t, "the answer to the next caller", answered).Verdict)
}

// If no first attempt was made before Recall, none is made after it either.
func TestRecall_ReturnsTheOutcomeOfTheFirstAttempt(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) }, `- {name: a, url: $URL}`)
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

	f = newFixture(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) }, `- {name: a, url: $URL}`)
	require.Equal(t, fanout.Delivered, f.firstAttempt(f.delivery()).Verdict)
	require.Equal(t, fanout.Delivered, recall().Verdict)
	require.EqualValues(t, 1, requests.Load())
}
