// Package await waits for conditions that do not announce themselves. It is for tests and for the
// parts that tests run on.
//
// A wait has no fixed time limit, because a busy machine makes everything slow and still makes
// progress. Instead, a wait fails when its state has not changed for Patience. The error says what
// the wait was for, the state that did not change, and for how long.
package await

import (
	"context"
	"fmt"
	"time"
)

// Patience is how long a wait continues while its state does not change. It is far longer than the
// slowest step takes on an idle machine: Temporal repeats a lost workflow task after 10 s, and the
// longest pause of a circuit breaker is 30 s.
const Patience = 90 * time.Second

// The pause between two checks. It begins at the minimum, so that a wait for a condition that
// already holds ends at once, and doubles up to the maximum.
const (
	minPause = time.Millisecond
	maxPause = 100 * time.Millisecond
)

// Error says that a wait failed.
type Error struct {
	What   string        // what the wait was for
	State  string        // the state at the last check
	Still  time.Duration // how long State had not changed
	Waited time.Duration // the duration of the whole wait
	Err    error         // why the wait failed before Patience was over; nil otherwise
}

// Error says what the wait was for, the state that did not change, and for how long.
func (e *Error) Error() string {
	text := fmt.Sprintf("gave up waiting for %s after %s: ", e.What, e.Waited.Round(maxPause))
	if e.Err != nil {
		text += e.Err.Error() + "; "
	}
	text += fmt.Sprintf("nothing changed for %s", e.Still.Round(maxPause))
	if e.State != "" {
		text += ", last state: " + e.State
	}
	return text
}

// Unwrap returns the context's error if the context ended the wait.
func (e *Error) Unwrap() error { return e.Err }

// Until calls check again and again until check returns done. The wait continues as long as the
// text of state changes. It fails with an *Error when the text has not changed for Patience, and
// when ctx ends.
func Until(ctx context.Context, what string, check func() (state any, done bool)) error {
	began := time.Now()
	changed, last := began, ""
	failed := func(cause error) error {
		return &Error{What: what, State: last, Still: time.Since(changed), Waited: time.Since(began), Err: cause}
	}
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		state, done := check()
		if done {
			return nil
		}
		if text := fmt.Sprint(state); text != last {
			changed, last = time.Now(), text
		}
		if time.Since(changed) >= Patience {
			return failed(nil)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return failed(context.Cause(ctx))
		}
	}
}
