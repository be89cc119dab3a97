package process

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// errStarting is the state of a check until the first Set.
var errStarting = errors.New("starting")

// Health contains the named checks of /readyz. Each of them is ready or not.
type Health struct {
	mu     sync.Mutex
	checks map[string]error
}

// NewHealth returns a Health with the named checks, none of which is ready yet.
func NewHealth(checks ...string) *Health {
	h := &Health{checks: map[string]error{}}
	for _, name := range checks {
		h.checks[name] = errStarting
	}
	return h
}

// Set sets the state of a check. If err is nil, the check is ready. /readyz shows err, so it
// must not contain a secret.
func (h *Health) Set(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = err
}

// NotReady returns one line for each check that is not ready, sorted by name. A process
// without any check is not ready.
func (h *Health) NotReady() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.checks) == 0 {
		return []string{errStarting.Error()}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h.checks)) {
		if err := h.checks[name]; err != nil {
			lines = append(lines, fmt.Sprintf("%s: %s", name, strings.Join(strings.Fields(err.Error()), " ")))
		}
	}
	return lines
}
