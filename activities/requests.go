package activities

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"genesys-fanout/fanout"
)

// rememberedRequests is how many ended requests a process remembers. At 2,000 requests a second it
// remembers those of the last 32 s. That is longer than it takes until another process asks for a
// request whose answer was lost: a workflow task times out after 10 s. An entry takes some 500
// bytes, or 3 KB with the longest error. All entries together take 32 MB, or 200 MB if every
// request fails with a long page.
const rememberedRequests = 65_536

// forgetfulFor is how long after an entry was dropped a request without an entry may have been
// sent. It is far longer than it takes until somebody asks.
const forgetfulFor = 2 * time.Minute

// requests remembers the requests that this process began, and their outcomes. If Temporal loses
// the answer of a workflow task or of an activity, it hands the task out again, perhaps to another
// process, which asks this one. Then the outcome comes from here, so that no target gets an event
// twice while the process lives.
type requests struct {
	process string // the id of this process
	last    atomic.Int64

	mu       sync.Mutex
	inFlight map[requestKey]*request // never dropped
	ended    *expirable.LRU[requestKey, *request]
	dropped  time.Time // when an entry of ended was dropped last, to make room for another one
}

// requestKey identifies a request. The first attempt to a target has the number 0 and the id of its
// run. The requests of the retry lane have numbers that are unique in the process.
type requestKey struct {
	runID, target string
	number        int64
}

func firstKey(runID, target string) requestKey { return requestKey{runID: runID, target: target} }

func retryKey(number int64) requestKey { return requestKey{number: number} }

// request is one request that this process began.
type request struct {
	requests *requests
	key      requestKey
	done     chan struct{} // closed when sent and outcome have their final values
	sent     bool
	denied   bool // true if this process must not send the request later; guarded by requests.mu
	outcome  fanout.Outcome
}

func newRequests(process string) *requests {
	return &requests{
		process: process, inFlight: make(map[requestKey]*request),
		ended: expirable.NewLRU[requestKey, *request](rememberedRequests, nil, 0),
	}
}

// begin adds a request of the retry lane that is about to be sent, and returns its name. The
// caller must call finish.
func (r *requests) begin() (fanout.Request, *request) {
	name := fanout.Request{Process: r.process, Number: r.last.Add(1)}
	own, _ := r.claim(retryKey(name.Number))
	return name, own
}

// answer records the outcome of a request that was sent.
func (q *request) answer(outcome fanout.Outcome) { q.sent, q.outcome = true, outcome }

// finish ends a request, and releases the callers that wait for its outcome. The request counts as
// not sent unless answer was called before. A first attempt that was not sent is forgotten, so that
// a later caller may make it, unless it was denied meanwhile.
func (q *request) finish() {
	r := q.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inFlight, q.key)
	if q.sent || q.denied || q.key.number != 0 {
		r.remember(q)
	}
	close(q.done)
}

// remember adds an ended request. The caller holds r.mu.
func (r *requests) remember(q *request) {
	if r.ended.Add(q.key, q) {
		r.dropped = time.Now()
	}
}

// find returns the entry for key, nil if there is none. The caller holds r.mu.
func (r *requests) find(key requestKey) *request {
	if known := r.inFlight[key]; known != nil {
		return known
	}
	known, _ := r.ended.Get(key)
	return known
}

// claim returns a new request in flight for key, or the one that exists.
func (r *requests) claim(key requestKey) (own, known *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.find(key); known != nil {
		return nil, known
	}
	own = &request{requests: r, key: key, done: make(chan struct{})}
	r.inFlight[key] = own
	return own, nil
}

// errForgotten is the error of outcome if this process may have sent the request and does not
// remember it.
var errForgotten = errors.New("this process does not remember the request")

// outcome returns the outcome of a request. If the request is in flight, outcome waits until it has
// ended. sent is false if the request was not sent. The error is errForgotten or that of ctx.
func (r *requests) outcome(ctx context.Context, key requestKey) (outcome fanout.Outcome, sent bool, err error) {
	r.mu.Lock()
	known := r.find(key)
	r.mu.Unlock()
	if known == nil {
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
// is in flight, first waits for its outcome. The error is that of ctx.
func (r *requests) first(ctx context.Context, runID, target string, attempt func() (outcome fanout.Outcome, sent bool)) (fanout.Outcome, error) {
	for {
		own, known := r.claim(firstKey(runID, target))
		if own != nil {
			return own.run(attempt), nil
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

// run calls attempt and ends the request with its outcome, also after a panic, because the callers
// that wait would otherwise wait for ever.
func (q *request) run(attempt func() (fanout.Outcome, bool)) fanout.Outcome {
	defer q.finish()
	outcome, sent := attempt()
	if sent {
		q.answer(outcome)
	}
	return outcome
}

// deny prevents the first attempt of a run for a target, unless this process has sent it already.
// A workflow task that has timed out in Temporal may still be executed here when another process
// asks for its outcome. If this process has forgotten entries lately, it adds none, because the
// request may have been sent.
func (r *requests) deny(runID, target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := firstKey(runID, target)
	if known := r.find(key); known != nil {
		known.denied = true
		return
	}
	if !r.dropped.IsZero() && time.Since(r.dropped) < forgetfulFor {
		return
	}
	q := &request{requests: r, key: key, done: make(chan struct{}), denied: true}
	close(q.done)
	r.remember(q)
}
