package activities

import (
	"sync"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const (
	// FastLaneLimit bounds the first attempts of one target in flight per
	// process, because they keep their workflow task open: 40 events/s at a target
	// that hangs for 5 s would keep 200 tasks waiting, and with them the record of
	// every other target's success.
	FastLaneLimit = 32

	// breakerThreshold is how many failures in a row, with no answer between them,
	// open a target's breaker.
	breakerThreshold = 10

	firstProbe   = time.Second
	longestProbe = 30 * time.Second

	// sightingAge is how old a sighting may be. It is up to longestProbe old between
	// two probes, and its task may wait as long again.
	sightingAge = 2 * longestProbe
)

// hold decides, for one target in one process, whether a request may go out now. A
// refusal spends no attempt, because the delivery comes again.
//
// Three things hold requests back. The first is the bound on requests in flight.
// The second is the gate: a 429, or a used-up rate limit, closes it until a moment
// that the target named. When it opens, one request goes out on trial. The limit
// then doubles with every success, and the next 429 halves it. The third is the
// breaker, which opens when the target has stopped answering. A single probe at a
// time then finds out whether the target is back.
type hold struct {
	mu   sync.Mutex
	now  func() time.Time
	away func() // called when the target stops answering, and with each probe that finds it so; may be nil

	max      int // requests in flight when nothing is wrong
	limit    int // requests in flight now; equal to max when nothing is wrong
	inFlight int
	fast     int // those of the fast lane
	issued   int // slots of the retry lane given to pollers or tasks

	closedUntil time.Time
	trial       bool // the gate has opened and no request has gone through yet
	epoch       int  // counts closings: an answer to an older request says nothing of this opening

	answered   time.Time // when the target last answered, whatever the answer was
	failed     time.Time // when it last failed to answer
	failures   int       // in a row
	open       bool
	probing    bool
	probeAt    time.Time
	probeDelay time.Duration

	changed chan struct{} // closed and replaced when a waiter should look again
}

// permit is the right to send one request. It must be given back with leave.
type permit struct {
	lane  Lane
	probe bool
	epoch int
}

// refusal is the reason why no request may go out.
type refusal struct {
	reason string
	wait   time.Duration // until asking again makes sense; 0: as soon as a request in flight ends
}

func newHold(limit int, now func() time.Time) *hold {
	return &hold{now: now, max: limit, limit: limit, changed: make(chan struct{})}
}

// enter asks for the right to send one request. A nil refusal means yes.
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

// allowed is the number of requests that may be in flight now.
func (h *hold) allowed() int {
	if h.trial {
		return 1
	}
	return h.limit
}

func (h *hold) probeDue(now time.Time) bool { return !h.probing && !now.Before(h.probeAt) }

// leave gives a permit back, with the meaning of the answer; nil if no request was
// sent.
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

// apply changes the hold by the answer to a request.
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
	if h.open { // any answer closes the breaker, and requests come back slowly
		h.open = false
		h.limit = 1
		h.trial = true
		fresh = true
	}
	if d.verdict == fanout.Delivered && fresh {
		h.widen()
	}
	if d.throttle > 0 || d.throttled { // a 429 slows down even if its wait is zero
		h.close(d, now, fresh)
	}
}

// widen lets more requests out after one went through.
func (h *hold) widen() {
	if h.trial && h.limit > 1 {
		h.trial = false // back to what the last 429 left
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
	case h.open: // sent before the breaker opened
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

// close shuts the gate. Only the first 429 of an opening slows the next one down,
// because the other requests were in flight with it and their answers are not news.
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

// reopenSlowly makes the next opening of the gate begin with one request.
func (h *hold) reopenSlowly() {
	h.epoch++
	h.trial = true
	if h.limit == h.max {
		h.limit = 1
	}
}

// sighting returns the state that another process should know, with its age,
// because the other one may have had an answer since.
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

// learn applies the sighting of another process unless this one knows something
// newer. A sighting may be old when its task comes, and its clock may differ.
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

// reserve takes a slot for one poll of the retry lane's queue. If none is free, it
// returns how long to wait (0: until something changes), and a channel that is
// closed when something has changed. The backlog of a queue that is not polled
// stays in Temporal at no cost.
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

// held reports whether the target gets no request at the moment, probes aside.
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
	away func(*target.Target) // as hold.away
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

// each calls f for every target that had a delivery.
func (h *holds) each(f func(name string, h *hold)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, one := range h.by {
		f(name, one)
	}
}
