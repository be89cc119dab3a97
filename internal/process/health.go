package process

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// notYet is the state of a check that nothing has reported on.
type notYet struct{}

func (notYet) Error() string { return "starting" }

// Health is what /readyz answers from: named checks, each ready or not.
type Health struct {
	mu     sync.Mutex
	checks map[string]error
}

// NewHealth begins with the named checks, none of them ready.
func NewHealth(checks ...string) *Health {
	h := &Health{checks: map[string]error{}}
	for _, name := range checks {
		h.checks[name] = notYet{}
	}
	return h
}

// Set reports on a check: nil means ready. The error is shown to whoever asks
// /readyz, so it must hold no secret.
func (h *Health) Set(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = err
}

// NotReady lists the checks that are not ready, by name, one line each. A
// process without any check is not ready.
func (h *Health) NotReady() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.checks) == 0 {
		return []string{notYet{}.Error()}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h.checks)) {
		if err := h.checks[name]; err != nil {
			lines = append(lines, fmt.Sprintf("%s: %s", name, strings.Join(strings.Fields(err.Error()), " ")))
		}
	}
	return lines
}
