package await

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// T is what a wait needs of a *testing.T.
type T interface {
	Helper()
	Context() context.Context
	Deadline() (deadline time.Time, ok bool)
	Cleanup(func())
	Fatal(args ...any)
}

// margin is how long before the deadline of go test a wait gives up. Go test
// would end the whole process there, and name no wait.
const margin = 20 * time.Second

var errDeadline = errors.New("the deadline of go test is near")

// Context returns a context that ends with the test, or shortly before the
// deadline of go test. It is for calls that need a context and no bound of their own.
func Context(t T) context.Context {
	ctx, cancel := bounded(t)
	t.Cleanup(cancel)
	return ctx
}

func bounded(t T) (context.Context, context.CancelFunc) {
	deadline, ok := t.Deadline()
	if !ok {
		return context.WithCancel(t.Context())
	}
	return context.WithDeadlineCause(t.Context(), deadline.Add(-margin), errDeadline)
}

// watched holds, by test, what the test's waits look at beside their own state.
var watched sync.Map // of T to func() string

// Watch makes all waits of the test go on while value changes, such as the number
// of requests that a target has had.
func Watch(t T, name string, value func() any) {
	before := watch(t)
	watched.Store(t, func() string { return fmt.Sprintf("%s, %s %v", before(), name, value()) })
	t.Cleanup(func() { watched.Delete(t) })
}

func watch(t T) func() string {
	if value, ok := watched.Load(t); ok {
		return value.(func() string)
	}
	return func() string { return "" }
}

// True waits until condition holds, and ends the test if it does not come to hold.
func True(t T, what string, condition func() bool) {
	t.Helper()
	until(t, what, func() (string, bool) { return "", condition() })
}

// Equal waits until get returns want, and ends the test if it does not come to that.
func Equal[V comparable](t T, what string, want V, get func() V) {
	t.Helper()
	until(t, fmt.Sprintf("%s to be %v", what, want), func() (string, bool) {
		got := get()
		return fmt.Sprint(got), got == want
	})
}

// Receive waits for a value from a channel and returns it, the zero value if the
// channel is closed. It ends the test if none comes.
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

func until(t T, what string, look func() (state string, over bool)) {
	t.Helper()
	ctx, cancel := bounded(t)
	defer cancel()
	others := watch(t)
	err := Until(ctx, what, func() (any, bool) {
		state, over := look()
		if !over {
			state = strings.TrimPrefix(state+others(), ", ")
		}
		return state, over
	})
	if err != nil {
		t.Fatal(err)
	}
}
