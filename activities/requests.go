package activities

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"genesys-fanout/fanout"
)

// rememberedRequests is how many requests a process remembers. At 1,000 requests a second, it
// remembers those of the last 16 s. That is longer than the workflow task timeout (10 s), after
// which Temporal dispatches a lost task again. An entry takes some 300 bytes, or 2.9 KB with the
// longest error. All entries together take 5 MB, or 45 MB if every request fails with a long
// page.
const rememberedRequests = 16_384

// requests remembers the requests that this process began, and their outcomes. If the completion
// of a workflow task or of an activity task does not reach Temporal, Temporal dispatches the task
// again, perhaps to another process. That process gets the outcome from here, so that no target
// gets an event twice while this process lives.
type requests struct {
	process string // the id of this process
	last    atomic.Int64

	mu      sync.Mutex
	entries *expirable.LRU[requestKey, *request]
}

// requestKey names a request. The first attempt of a run has the number 0, and the requests of the
// retry lane have numbers of their own.
type requestKey struct {
	runID, target string
	number        int64
}

// request is one request that this process began.
type request struct {
	done    chan struct{} // closed when sent and outcome have their final values
	sent    bool
	denied  bool // true if this process must not send the request later
	outcome fanout.Outcome
}

func newRequests(process string) *requests {
	return &requests{process: process, entries: expirable.NewLRU[requestKey, *request](rememberedRequests, nil, 0)}
}

// begin adds a request of the retry lane that is about to be sent, and returns its name. The
// caller must call finish.
func (r *requests) begin(runID, target string) (fanout.Request, *request) {
	name := fanout.Request{Process: r.process, Number: r.last.Add(1)}
	own := &request{done: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries.Add(requestKey{runID, target, name.Number}, own)
	return name, own
}

// finish ends a request, and releases the callers that wait for its outcome. The request counts as
// not sent unless answer was called before.
func (q *request) finish() { close(q.done) }

// answer records the outcome of a request that was sent.
func (q *request) answer(outcome fanout.Outcome) { q.sent, q.outcome = true, outcome }

// errForgotten is the error of outcome if this process does not remember the request.
var errForgotten = errors.New("this process does not remember the request")

// outcome returns the outcome of a request. If the request is in flight, outcome waits until it has
// ended. sent is false if the request was not sent. The error is errForgotten or that of ctx.
func (r *requests) outcome(ctx context.Context, key requestKey) (outcome fanout.Outcome, sent bool, err error) {
	r.mu.Lock()
	known, ok := r.entries.Get(key)
	r.mu.Unlock()
	if !ok {
		return fanout.Outcome{}, false, errForgotten
	}
	select {
	case <-known.done:
		return known.outcome, known.sent, nil
	case <-ctx.Done():
		return fanout.Outcome{}, false, ctx.Err()
	}
}

// first returns the outcome of the first attempt of a run for a target. If this process has made
// none, first calls attempt, which returns whether it sent a request. If another caller's attempt
// is in flight, first waits for its outcome. An attempt that sent nothing is forgotten, so that a
// later caller makes its own. The error is that of ctx.
func (r *requests) first(ctx context.Context, runID, target string, attempt func() (outcome fanout.Outcome, sent bool)) (fanout.Outcome, error) {
	key := requestKey{runID: runID, target: target}
	for {
		own, known := r.claim(key)
		if own != nil {
			return r.run(key, own, attempt), nil
		}
		select {
		case <-known.done:
		case <-ctx.Done():
			return fanout.Outcome{}, ctx.Err()
		}
		switch {
		case known.sent:
			return known.outcome, nil
		case known.denied:
			return fanout.Outcome{Verdict: fanout.Held}, nil
		}
	}
}

// deny prevents the first attempt of a run for a target, unless this process has begun it already.
// A workflow task that has timed out in Temporal may still be executed here when another process
// asks for its outcome.
func (r *requests) deny(runID, target string) {
	if own, _ := r.claim(requestKey{runID: runID, target: target}); own != nil {
		own.denied = true
		own.finish()
	}
}

// claim returns a new entry for key, or the one that exists.
func (r *requests) claim(key requestKey) (own, known *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.entries.Get(key); ok {
		return nil, known
	}
	own = &request{done: make(chan struct{})}
	r.entries.Add(key, own)
	return own, nil
}

// run calls attempt and records its outcome in own.
func (r *requests) run(key requestKey, own *request, attempt func() (fanout.Outcome, bool)) fanout.Outcome {
	// This must run even after a panic, because the waiting callers would otherwise wait for ever.
	defer func() {
		if !own.sent {
			r.mu.Lock()
			r.entries.Remove(key)
			r.mu.Unlock()
		}
		own.finish()
	}()
	own.outcome, own.sent = attempt()
	return own.outcome
}
