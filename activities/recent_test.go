package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
	select {
	case outcome := <-answered:
		assert.Equal(t, Delivered, outcome.Verdict)
	case <-time.After(10 * time.Second):
		t.Fatal("the next caller looks for ever")
	}
}
