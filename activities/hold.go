package activities

import (
	"sync"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const (
	// FastLaneLimit bounds the first attempts of one target that are in flight per
	// process. The bound is low, because a first attempt keeps its workflow task open. At
	// 40 events/s, a target that hangs for 5 s would keep 200 tasks waiting, and with
	// them the record of every other target's success.
	FastLaneLimit = 32

	// breakerThreshold is the number of failures in a row, with no answer between them,
	// that opens a target's breaker.
	breakerThreshold = 10

	firstProbe   = time.Second
	longestProbe = 30 * time.Second

	// sightingAge is the age at which a sighting is stale. Between two probes a sighting
	// becomes up to longestProbe old, and then its task may wait for as long again.
	sightingAge = 2 * longestProbe
)

// hold decides for one target in one process whether a request may be sent now. If hold
// refuses a request, no attempt is spent, because the delivery asks again later.
//
// Three things hold requests back:
//
//   - The bound on requests in flight.
//   - The rate-limit gate. A 429, or a used-up rate limit, closes it until a time that the
//     target named. When it opens, one request is sent as a trial. After that, each success
//     doubles the limit on requests in flight, and the next 429 halves it.
//   - The circuit breaker. It opens when the target has stopped answering. Then a single
//     probe at a time finds out whether the target answers again.
type hold struct {
	mu   sync.Mutex
	now  func() time.Time
	away func() // called when the breaker opens, and after each failed probe; may be nil

	max      int // the most requests in flight when nothing is wrong
	limit    int // the most requests in flight now; equal to max when nothing is wrong
	inFlight int
	fast     int // requests in flight of the fast lane
	issued   int // slots of the retry lane that pollers or tasks have

	closedUntil time.Time
	trial       bool // true if the gate has opened and no request has succeeded yet
	epoch       int  // counts how often the gate closed, because answers to older requests do not count for this opening

	answered   time.Time // when the target last answered, whatever the answer was
	failed     time.Time // when the target last failed to answer
	failures   int       // failures in a row
	open       bool      // true if the breaker is open
	probing    bool      // true if a probe is in flight
	probeAt    time.Time // the earliest time of the next probe
	probeDelay time.Duration

	changed chan struct{} // closed and replaced when a waiter should look again
}

// permit is the right to send one request. The holder must give it back with leave.
type permit struct {
	lane  Lane
	probe bool
	epoch int
}

// refusal is the reason why no request may go out.
type refusal struct {
	reason string
	wait   time.Duration // how long to wait before asking again; 0 means until a request in flight ends
}

func newHold(limit int, now func() time.Time) *hold {
	return &hold{now: now, max: limit, limit: limit, changed: make(chan struct{})}
}

// enter asks for the right to send one request. If the refusal is nil, the permit is valid.
func (h *hold) enter(lane Lane) (permit, *refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	p := permit{lane: lane, epoch: h.epoch}
	switch {
	case now.Before(h.closedUntil):
		return permit{}, &refusal{reason: "rate limited", wait: h.closedUntil.Sub(now)}
	case h.open && !h.probeDue(now):
		return permit{}, &refusal{reason: "the target does not answer", wait: max(h.probeAt.Sub(now), firstProbe)}
	case h.open:
		p.probe = true
		h.probing = true
	case lane == FastLane && h.fast >= FastLaneLimit, h.inFlight >= h.allowed():
		return permit{}, &refusal{reason: "as many requests in flight as the target may get"}
	}
	h.inFlight++
	if lane == FastLane {
		h.fast++
	}
	return p, nil
}

// allowed returns the most requests that may be in flight now.
func (h *hold) allowed() int {
	if h.trial {
		return 1
	}
	return h.limit
}

func (h *hold) probeDue(now time.Time) bool { return !h.probing && !now.Before(h.probeAt) }

// leave gives a permit back. d is the meaning of the answer, or nil if no request was sent.
func (h *hold) leave(p permit, d *decision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight--
	if p.lane == FastLane {
		h.fast--
	}
	if p.probe {
		h.probing = false
	}
	if d != nil {
		h.apply(p, *d)
	}
	h.announce()
}

// apply updates the hold after the answer to a request.
func (h *hold) apply(p permit, d decision) {
	now := h.now()
	fresh := p.epoch == h.epoch
	if d.unavailable {
		h.countFailure(p, now)
		if d.throttle > 0 {
			h.close(d, now, fresh)
		}
		return
	}
	h.answered = now
	h.failures = 0
	if h.open { // any answer closes the breaker, but the limit starts again at one request
		h.open = false
		h.limit = 1
		h.trial = true
		fresh = true
	}
	if d.verdict == fanout.Delivered && fresh {
		h.widen()
	}
	if d.throttle > 0 || d.throttled { // a 429 slows requests down even if its wait is zero
		h.close(d, now, fresh)
	}
}

// widen raises the limit after a request succeeded.
func (h *hold) widen() {
	if h.trial && h.limit > 1 {
		h.trial = false // the limit that the last 429 left applies again
		return
	}
	h.trial = false
	h.limit = min(h.max, 2*h.limit)
}

func (h *hold) countFailure(p permit, now time.Time) {
	h.failed = now
	switch {
	case p.probe:
		h.probeDelay = min(2*h.probeDelay, longestProbe)
		h.probeAt = now.Add(h.probeDelay)
		h.reportAway()
	case h.open: // the request was sent before the breaker opened
	default:
		h.failures++
		if h.failures >= breakerThreshold {
			h.trip(now)
		}
	}
}

// trip opens the breaker.
func (h *hold) trip(now time.Time) {
	h.open = true
	h.probeDelay = firstProbe
	h.probeAt = now.Add(firstProbe)
	h.reportAway()
}

func (h *hold) reportAway() {
	if h.away != nil {
		h.away()
	}
}

// close closes the gate. Only the first 429 after an opening lowers the limit of the next
// opening, because the requests with the other answers were in flight at the same time.
func (h *hold) close(d decision, now time.Time, fresh bool) {
	if until := now.Add(d.throttle); until.After(h.closedUntil) {
		h.closedUntil = until
	}
	if !fresh {
		return
	}
	limit := h.limit
	h.reopenSlowly()
	if limit < h.max && d.throttled {
		h.limit = max(1, limit/2)
	}
}

// reopenSlowly makes the next opening of the gate begin with one request as a trial.
func (h *hold) reopenSlowly() {
	h.epoch++
	h.trial = true
	if h.limit == h.max {
		h.limit = 1
	}
}

// sighting returns the state of the target that another process should know. It includes the
// time of the last failure, because the other process may have had an answer since then.
func (h *hold) sighting() fanout.TargetState {
	h.mu.Lock()
	defer h.mu.Unlock()
	var s fanout.TargetState
	now := h.now()
	if now.Before(h.closedUntil) {
		s.ClosedUntil = h.closedUntil.UTC()
	}
	if h.open {
		s.AwayAt = h.failed.UTC()
	}
	return s
}

// learn applies the sighting of another process, if this process knows nothing newer. It
// checks the times of the sighting, because the sighting may be old when its task arrives, and
// the clock of the other process may differ.
func (h *hold) learn(s fanout.TargetState, maxRetryAfter time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if latest := now.Add(maxRetryAfter); s.ClosedUntil.After(latest) {
		s.ClosedUntil = latest
	}
	if s.ClosedUntil.After(now) && s.ClosedUntil.After(h.closedUntil) {
		h.closedUntil = s.ClosedUntil
		h.reopenSlowly()
	}
	if !h.open && s.AwayAt.After(h.answered) && now.Sub(s.AwayAt).Abs() < sightingAge {
		h.failed = s.AwayAt
		h.trip(now)
	}
}

func (h *hold) announce() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// reserve reserves a slot for one poll of the retry lane's queue. If no slot is free, it
// returns how long to wait (0 means until something changes), and a channel that is closed
// when something has changed. If a queue is not polled, its backlog stays in Temporal at no
// cost.
func (h *hold) reserve() (ok bool, wait time.Duration, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	switch {
	case now.Before(h.closedUntil):
		return false, h.closedUntil.Sub(now), h.changed
	case h.open && h.probing:
		return false, 0, h.changed
	case h.open && now.Before(h.probeAt):
		return false, h.probeAt.Sub(now), h.changed
	case h.open && h.issued > 0, h.issued >= h.allowed():
		return false, 0, h.changed
	}
	h.issued++
	return true, 0, nil
}

// release gives a slot back.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.issued--
	h.announce()
}

// held reports whether the target gets no requests at the moment, except for probes.
func (h *hold) held() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open || h.now().Before(h.closedUntil)
}

// changes returns a channel that is closed when the next request or slot is given
// back.
func (h *hold) changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// holds keeps one hold per target.
type holds struct {
	now  func() time.Time
	away func(*target.Target) // becomes hold.away of each target; may be nil
	mu   sync.Mutex
	by   map[string]*hold
}

func newHolds(now func() time.Time) *holds {
	return &holds{now: now, by: make(map[string]*hold)}
}

func (h *holds) of(t *target.Target) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[t.Name()] == nil {
		one := newHold(t.MaxConcurrency, h.now)
		if h.away != nil {
			one.away = func() { h.away(t) }
		}
		h.by[t.Name()] = one
	}
	return h.by[t.Name()]
}

// each calls f for every target that has a hold.
func (h *holds) each(f func(name string, h *hold)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, one := range h.by {
		f(name, one)
	}
}
