package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/internal/devstack"
)

// spec is a target with a policy that users have, and with the behaviour for which they have it.
type spec struct {
	name        string
	maxAttempts int
	timeout     time.Duration
	policy      string // the rest of the target's entry in targets.yaml
	script      func(*weather) devstack.Script
}

// weather is what the faults change in the behaviour of the targets.
type weather struct {
	away     atomic.Bool // compliance answers 503
	repaired atomic.Bool // billing rejects nothing any more
}

func specs() []spec {
	const retryable = `retry_statuses: [408, 425, 429, 500, 502, 503, 504]`
	return []spec{
		{"analytics", 20, 5 * time.Second, `backoff: {initial: 1s, max: 10s}, ` + retryable, healthy},
		{"crm", 20, 3 * time.Second, `backoff: {initial: 1s, max: 10s}, ` + retryable, slow},
		{"notification", 20, 5 * time.Second, `backoff: {initial: 1s, max: 10s}, max_retry_after: 10s, ` + retryable, limiting},
		{"compliance", 20, 5 * time.Second, `backoff: {initial: 1s, max: 10s}, ` + retryable, sometimesAway},
		{"billing", 3, 5 * time.Second, `backoff: {initial: 1s, max: 10s}`, rejectingSome},
	}
}

// extra is the target that is added to targets.yaml during the run.
func extra() spec {
	return spec{"archive", 20, 5 * time.Second, `backoff: {initial: 1s, max: 10s}`, healthy}
}

func healthy(*weather) devstack.Script {
	return func(devstack.Request) devstack.Answer {
		return devstack.Answer{Delay: rand.N(50 * time.Millisecond)}
	}
}

func slow(*weather) devstack.Script {
	return func(devstack.Request) devstack.Answer {
		return devstack.Answer{Delay: 200*time.Millisecond + rand.N(1300*time.Millisecond)}
	}
}

// limiting accepts that many requests in a second, and answers 429 to the others.
const requestsPerSecond = 40

func limiting(*weather) devstack.Script {
	var mu sync.Mutex
	var second time.Time
	var count int
	return func(devstack.Request) devstack.Answer {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now().Truncate(time.Second); now.After(second) {
			second, count = now, 0
		}
		if count++; count > requestsPerSecond {
			return devstack.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}}}
		}
		return devstack.Answer{}
	}
}

func sometimesAway(w *weather) devstack.Script {
	return func(devstack.Request) devstack.Answer {
		if w.away.Load() {
			return devstack.Answer{Status: http.StatusServiceUnavailable}
		}
		return devstack.Answer{}
	}
}

// rejectingSome rejects one event in fifty until the target is repaired.
func rejectingSome(w *weather) devstack.Script {
	return func(r devstack.Request) devstack.Answer {
		h := fnv.New32a()
		_, _ = h.Write([]byte(r.EventID))
		if h.Sum32()%50 == 0 && !w.repaired.Load() {
			return devstack.Answer{Status: http.StatusUnprocessableEntity, Body: "unknown customer"}
		}
		return devstack.Answer{}
	}
}

// target is a running target.
type target struct {
	spec
	*devstack.Target
}

// entry returns the target's entry in targets.yaml.
func (s spec) entry(url, state string) string {
	return fmt.Sprintf("  - {name: %s, url: %q, state: %s, max_attempts: %d, timeout: %s, %s}\n", s.name, url, state, s.maxAttempts, s.timeout, s.policy)
}

// audited returns the target as the audit knows it.
func (s spec) audited(always bool) audit.Target {
	return audit.Target{Name: s.name, MaxAttempts: s.maxAttempts, Timeout: s.timeout, Always: always}
}

// list is the content of targets.yaml, by the order of the targets and their state.
type list struct {
	names   []string
	paused  string // the target that is paused; empty if none is
	retired string // the target that was taken out; empty if none was
	added   bool   // the extra target
}

// writeTargets writes the targets.yaml of a member. Each request names its sender in the path of the
// URL.
func (w *world) writeTargets(m *member, file string) error {
	w.mu.Lock()
	list := w.list
	w.mu.Unlock()
	var yaml strings.Builder
	yaml.WriteString("targets:\n")
	for _, name := range list.names {
		state := "active"
		switch name {
		case list.paused:
			state = "paused"
		case list.retired:
			state = "retired"
		}
		yaml.WriteString(w.targets[name].entry("http://"+m.links[name].address()+"/"+m.sender, state))
	}
	return os.WriteFile(file, []byte(yaml.String()), 0o600)
}
