// Package await waits until something has come about that can only be asked for.
//
// A wait goes on as long as something moves, because a busy machine makes
// everything slow and still brings it to its end. A wait gives up when nothing
// has moved for Patience. Its error then names what it waited for, what stood
// still, and for how long. The package is for tests and for the parts they run on.
package await

import (
	"context"
	"fmt"
	"time"
)

// Patience is how long a wait goes on while nothing moves. It is far beyond what
// the slowest step takes on a quiet machine: a workflow task that was lost comes
// back after 10 s, a breaker's longest pause is 30 s.
const Patience = 90 * time.Second

// The pause between two looks begins at shortest, so that what is there at once
// is seen at once, and doubles up to longest.
const (
	shortest = time.Millisecond
	longest  = 100 * time.Millisecond
)

// Error says that what was waited for did not come about.
type Error struct {
	What   string        // what was waited for
	State  string        // what stood still, as it was seen last
	Still  time.Duration // how long State had not changed
	Waited time.Duration // in all
	Err    error         // why the wait ended before Patience was over; nil otherwise
}

// Error names what stood still, and for how long.
func (e *Error) Error() string {
	text := fmt.Sprintf("gave up waiting for %s after %s: ", e.What, e.Waited.Round(longest))
	if e.Err != nil {
		text += e.Err.Error() + "; "
	}
	text += fmt.Sprintf("nothing moved for %s", e.Still.Round(longest))
	if e.State != "" {
		text += ", last seen: " + e.State
	}
	return text
}

// Unwrap returns the context's error if the context ended the wait.
func (e *Error) Unwrap() error { return e.Err }

// Until calls look again and again until look says that the wait is over. What
// look returns as state is compared by its text: as long as it changes, the wait
// goes on. The error is an *Error, after Patience without a change or when ctx ends.
func Until(ctx context.Context, what string, look func() (state any, over bool)) error {
	began := time.Now()
	moved, seen := began, ""
	failed := func(cause error) error {
		return &Error{What: what, State: seen, Still: time.Since(moved), Waited: time.Since(began), Err: cause}
	}
	for pause := shortest; ; pause = min(2*pause, longest) {
		state, over := look()
		if over {
			return nil
		}
		if text := fmt.Sprint(state); text != seen {
			moved, seen = time.Now(), text
		}
		if time.Since(moved) >= Patience {
			return failed(nil)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return failed(context.Cause(ctx))
		}
	}
}
