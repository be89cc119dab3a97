package activities

import (
	"context"
	"sync"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"genesys-fanout/fanout"
)

// recentLimit is how many outcomes a process remembers: at 1,000 deliveries a
// second 16 s, longer than the workflow task timeout (10 s) after which Temporal
// asks again. An entry takes some 300 bytes, 2.9 KB with the longest error: 5 MB
// in all, 45 MB where every delivery fails with a long page.
const recentLimit = 16_384

// recentOutcomes remembers what became of a delivery's attempt in this process.
// When Temporal loses a workflow task, or the answer of an activity, it asks for
// the same again; the answer then comes from here and nothing is sent twice.
type recentOutcomes struct {
	mu sync.Mutex
	by *expirable.LRU[recentKey, *recentOutcome]
}

type recentKey struct {
	runID, target string
	lane          Lane
}

type recentOutcome struct {
	done    chan struct{} // closed when the attempt has ended
	outcome fanout.Outcome
	err     error
	kept    bool
}

func newRecentOutcomes() *recentOutcomes {
	return &recentOutcomes{by: expirable.NewLRU[recentKey, *recentOutcome](recentLimit, nil, 0)}
}

// once runs attempt for key unless this process has an outcome for it already,
// or is about to: then that one is returned. An outcome is kept when keep says
// so; otherwise the next caller attempts anew.
func (r *recentOutcomes) once(ctx context.Context, key recentKey, attempt func() (fanout.Outcome, error), keep func(fanout.Outcome, error) bool) (fanout.Outcome, error) {
	for {
		r.mu.Lock()
		known, ok := r.by.Get(key)
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
	mine := &recentOutcome{done: make(chan struct{})}
	r.by.Add(key, mine)
	r.mu.Unlock()

	defer func() { // after a panic too: who waits would look for ever
		if !mine.kept {
			r.mu.Lock()
			r.by.Remove(key)
			r.mu.Unlock()
		}
		close(mine.done)
	}()
	mine.outcome, mine.err = attempt()
	mine.kept = keep(mine.outcome, mine.err)
	return mine.outcome, mine.err
}
