package await

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// T is the part of *testing.T that a wait uses.
type T interface {
	Helper()
	Context() context.Context
	Deadline() (deadline time.Time, ok bool)
	Cleanup(func())
	Fatal(args ...any)
}

// margin is how long before the deadline of go test a wait fails. At the deadline, go test ends the
// whole process without saying which wait was open.
const margin = 20 * time.Second

var errDeadline = errors.New("the deadline of go test is near")

// Context returns a context that ends with the test, or shortly before the deadline of go test. It is
// for calls that need a context but no time limit of their own.
func Context(t T) context.Context {
	ctx, cancel := beforeDeadline(t)
	t.Cleanup(cancel)
	return ctx
}

func beforeDeadline(t T) (context.Context, context.CancelFunc) {
	deadline, ok := t.Deadline()
	if !ok {
		return context.WithCancel(t.Context())
	}
	return context.WithDeadlineCause(t.Context(), deadline.Add(-margin), errDeadline)
}

// watched contains, by test, the values that Watch adds to the state of the test's waits.
var watched sync.Map // of T to func() string

// Watch adds a value to the state of all waits of the test, which then continue while the value
// changes. An example is the number of requests that a target has received.
func Watch(t T, name string, value func() any) {
	others := watchedState(t)
	watched.Store(t, func() string { return fmt.Sprintf("%s, %s %v", others(), name, value()) })
	t.Cleanup(func() { watched.Delete(t) })
}

// watchedState returns a function that returns the values that Watch has added, as text.
func watchedState(t T) func() string {
	if value, ok := watched.Load(t); ok {
		return value.(func() string)
	}
	return func() string { return "" }
}

// True waits until condition returns true. It ends the test if the wait fails.
func True(t T, what string, condition func() bool) {
	t.Helper()
	until(t, what, func() (string, bool) { return "", condition() })
}

// Equal waits until get returns want. It ends the test if the wait fails.
func Equal[V comparable](t T, what string, want V, get func() V) {
	t.Helper()
	until(t, fmt.Sprintf("%s to be %v", what, want), func() (string, bool) {
		got := get()
		return fmt.Sprint(got), got == want
	})
}

// Receive waits for a value from a channel and returns it, or the zero value if the channel is
// closed. It ends the test if the wait fails.
func Receive[V any](t T, what string, from <-chan V) (value V) {
	t.Helper()
	True(t, what, func() bool {
		select {
		case value = <-from:
			return true
		default:
			return false
		}
	})
	return value
}

func until(t T, what string, check func() (state string, done bool)) {
	t.Helper()
	ctx, cancel := beforeDeadline(t)
	defer cancel()
	others := watchedState(t)
	err := Until(ctx, what, func() (any, bool) {
		state, done := check()
		if !done {
			state = strings.TrimPrefix(state+others(), ", ")
		}
		return state, done
	})
	if err != nil {
		t.Fatal(err)
	}
}
