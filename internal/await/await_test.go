package await

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUntil_ContinuesWhileTheStateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := Until(t.Context(), "an hour", func() (any, bool) {
			since := time.Since(began)
			return since / (Patience - time.Second), since >= time.Hour
		})
		require.NoError(t, err)
		assert.InDelta(t, time.Hour, time.Since(began), float64(maxPause))
	})
}

func TestUntil_FailsAndNamesTheStateThatDidNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := Until(t.Context(), "40 events at analytics", func() (any, bool) {
			return min(int(time.Since(began)/time.Second), 39), false
		})
		var failure *Error
		require.ErrorAs(t, err, &failure)
		assert.Equal(t, "39", failure.State)
		assert.InDelta(t, Patience, failure.Still, float64(maxPause))
		assert.InDelta(t, Patience+39*time.Second, failure.Waited, float64(2*maxPause))
		assert.Regexp(t, `^gave up waiting for 40 events at analytics after 2m9(\.\d)?s: nothing changed for 1m30(\.\d)?s, last state: 39$`, err.Error())
	})
}

func TestUntil_FailsWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := Until(ctx, "the end", func() (any, bool) { return "", false })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "gave up waiting for the end after 1s: context deadline exceeded; nothing changed for 1s", err.Error())
		require.NoError(t, Until(ctx, "a true condition", func() (any, bool) { return "", true }), "the condition is checked once even if the context has ended")
	})
}

// fakeT is a test that a wait can end.
type fakeT struct {
	*testing.T
	deadline time.Time
	fatal    string
}

func (s *fakeT) Deadline() (time.Time, bool) { return s.deadline, !s.deadline.IsZero() }

func (s *fakeT) Fatal(args ...any) {
	s.fatal = fmt.Sprint(args...)
	runtime.Goexit()
}

// run calls wait and returns the message with which wait ended the test, or "" if wait did not end it.
func (s *fakeT) run(wait func(t T)) string {
	s.fatal = ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait(s)
	}()
	<-done
	return s.fatal
}

func TestTrueEqualReceive_EndTheTestIfTheWaitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeT{T: t}
		assert.Empty(t, s.run(func(t T) { True(t, "now", func() bool { return true }) }))
		assert.Regexp(t, `^gave up waiting for never after 1m30(\.\d)?s: nothing changed for 1m30(\.\d)?s$`,
			s.run(func(t T) { True(t, "never", func() bool { return false }) }))
		assert.Regexp(t, `^gave up waiting for committed messages to be 3 after .*, last state: 2$`,
			s.run(func(t T) { Equal(t, "committed messages", 3, func() int { return 2 }) }))

		values := make(chan int)
		go func() { values <- 7 }()
		assert.Empty(t, s.run(func(t T) { assert.Equal(s, 7, Receive(t, "seven", values)) }))
		assert.Contains(t, s.run(func(t T) { Receive(t, "another", values) }), "gave up waiting for another after ")
		close(values)
		assert.Empty(t, s.run(func(t T) { assert.Zero(s, Receive(t, "the end", values)) }))
	})
}

func TestWatch_WaitsContinueWhileAWatchedValueChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, began := &fakeT{T: t}, time.Now()
		Watch(s, "requests", func() any { return min(int(time.Since(began)/time.Minute), 10) })
		Watch(s, "records", func() any { return 7 })
		text := s.run(func(t T) { Equal(t, "status", "Failed", func() string { return "Running" }) })
		assert.Greater(t, time.Since(began), 10*time.Minute)
		assert.Contains(t, text, "last state: Running, requests 10, records 7")
	})
}

func TestWaits_FailBeforeTheDeadlineOfGoTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeT{T: t, deadline: time.Now().Add(margin + time.Minute)}
		text := s.run(func(t T) { True(t, "never", func() bool { return false }) })
		assert.Equal(t, "gave up waiting for never after 1m0s: the deadline of go test is near; nothing changed for 1m0s", text)
		require.ErrorIs(t, context.Cause(Context(s)), errDeadline)
	})
}
