package activities

import (
	"context"
	"sync"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"genesys-fanout/fanout"
)

// recentLimit is how many outcomes a process remembers. At 1,000 deliveries a second, it
// remembers those of the last 16 s. That is longer than the workflow task timeout (10 s),
// after which Temporal asks again. An entry takes some 300 bytes, or 2.9 KB with the longest
// error. All entries together take 5 MB, or 45 MB if every delivery fails with a long page.
const recentLimit = 16_384

// recentOutcomes remembers the outcomes of the attempts that this process made. If Temporal
// loses a workflow task, or the answer of an activity, it asks for the same attempt again.
// Then the answer comes from here, so that nothing is sent twice.
type recentOutcomes struct {
	mu      sync.Mutex
	entries *expirable.LRU[attemptKey, *recentOutcome]
}

// attemptKey names an attempt that is made at most once while this process remembers it.
type attemptKey struct {
	runID, target string
	lane          Lane
}

type recentOutcome struct {
	done    chan struct{} // closed when the attempt has ended
	outcome fanout.Outcome
	err     error
	kept    bool // true if later callers get this outcome
}

func newRecentOutcomes() *recentOutcomes {
	return &recentOutcomes{entries: expirable.NewLRU[attemptKey, *recentOutcome](recentLimit, nil, 0)}
}

// attemptOnce returns the outcome that this process has for key. If it has none, attemptOnce
// runs attempt. If another caller is running the attempt for key, attemptOnce waits for its
// outcome. If keep returns true, the outcome is kept; otherwise the next caller runs its own
// attempt. If ctx is done while attemptOnce waits, the error is that of ctx.
func (r *recentOutcomes) attemptOnce(ctx context.Context, key attemptKey, attempt func() (fanout.Outcome, error), keep func(fanout.Outcome, error) bool) (fanout.Outcome, error) {
	for {
		r.mu.Lock()
		known, ok := r.entries.Get(key)
		if !ok {
			break
		}
		r.mu.Unlock()
		select {
		case <-known.done:
		case <-ctx.Done():
			return fanout.Outcome{}, ctx.Err()
		}
		if known.kept {
			return known.outcome, known.err
		}
	}
	own := &recentOutcome{done: make(chan struct{})}
	r.entries.Add(key, own)
	r.mu.Unlock()

	// This must run even after a panic, because the waiting callers would otherwise wait
	// for ever.
	defer func() {
		if !own.kept {
			r.mu.Lock()
			r.entries.Remove(key)
			r.mu.Unlock()
		}
		close(own.done)
	}()
	own.outcome, own.err = attempt()
	own.kept = keep(own.outcome, own.err)
	return own.outcome, own.err
}
