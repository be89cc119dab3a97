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

	firstProbeDelay   = time.Second
	longestProbeDelay = 30 * time.Second

	// targetStateMaxAge is the age at which a fanout.TargetState is stale. Between two probes
	// a state becomes up to longestProbeDelay old, and then its task may wait for as long
	// again.
	targetStateMaxAge = 2 * longestProbeDelay
)

// admission decides for one target in one process whether a request may be sent now. If it
// denies a permit, no attempt is spent, because the delivery asks again later.
//
// Three things keep requests back:
//
//   - The limit on requests in flight.
//   - The rate-limit gate. A 429, or a used-up rate limit, closes it until a time that the
//     target named. When it opens, one request is sent as a trial. After that, each success
//     doubles the limit on requests in flight, and the next 429 halves it.
//   - The circuit breaker. It opens when the target has stopped answering. Then a single
//     probe at a time finds out whether the target answers again.
//
// While the gate is closed or the breaker is open, the target is blocked.
type admission struct {
	mu            sync.Mutex
	now           func() time.Time
	onUnavailable func() // called when the breaker opens, and after each failed probe; may be nil

	maxInFlight  int // the most requests in flight when nothing is wrong
	limit        int // the most requests in flight now; equal to maxInFlight when nothing is wrong
	inFlight     int
	fastInFlight int // requests in flight of the fast lane
	slots        int // slots of the retry lane that polls and tasks have reserved

	gateClosedUntil time.Time
	trial           bool // true if the gate has opened and no request has succeeded yet
	epoch           int  // the number of closings; an answer to a request from before the last closing does not change the limit

	lastAnswer    time.Time // when the target last answered, whatever the answer was
	lastFailure   time.Time // when the target last failed to answer
	failures      int       // failures in a row, with no answer between them
	breakerOpen   bool
	probeInFlight bool
	nextProbe     time.Time // the earliest time of the next probe
	probeDelay    time.Duration

	changed chan struct{} // closed and replaced when a permit or a slot is released
}

// permit is the right to send one request. The function that acquires a permit releases it with
// defer.
type permit struct {
	admission *admission
	lane      Lane
	probe     bool
	epoch     int // admission.epoch when the permit was acquired

	// decision is the meaning of the target's answer. It stays nil if no request was sent, or if
	// this process canceled the request. Then release does not change the limit, the gate or
	// the breaker.
	decision *decision
}

// targetUnavailable is why a delivery is held back while the breaker is open.
const targetUnavailable = "the target does not answer"

// denial is the reason why a permit was denied.
type denial struct {
	reason string
	wait   time.Duration // how long to wait before asking again; 0 means until a request in flight ends
}

func newAdmission(maxInFlight int, now func() time.Time) *admission {
	return &admission{now: now, maxInFlight: maxInFlight, limit: maxInFlight, changed: make(chan struct{})}
}

// acquire asks for the right to send one request. Either the permit or the denial is nil.
func (a *admission) acquire(lane Lane) (*permit, *denial) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	p := &permit{admission: a, lane: lane, epoch: a.epoch}
	switch {
	case now.Before(a.gateClosedUntil):
		return nil, &denial{reason: "rate limited", wait: a.gateClosedUntil.Sub(now)}
	case a.breakerOpen && !a.probeDue(now):
		return nil, &denial{reason: targetUnavailable, wait: max(a.nextProbe.Sub(now), firstProbeDelay)}
	case lane == FastLane && a.fastInFlight >= FastLaneLimit, a.inFlight >= a.currentLimit():
		return nil, &denial{reason: "as many requests in flight as the target may get"}
	case a.breakerOpen:
		p.probe = true
		a.probeInFlight = true
	}
	a.inFlight++
	if lane == FastLane {
		a.fastInFlight++
	}
	return p, nil
}

// currentLimit returns the most requests that may be in flight now. A probe is in addition to the
// requests from before the breaker opened, but never more than maxInFlight.
func (a *admission) currentLimit() int {
	switch {
	case a.trial:
		return 1
	case a.breakerOpen:
		return a.maxInFlight
	}
	return a.limit
}

func (a *admission) probeDue(now time.Time) bool { return !a.probeInFlight && !now.Before(a.nextProbe) }

// release returns the permit, and updates the admission by the permit's decision.
func (p *permit) release() {
	a := p.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight--
	if p.lane == FastLane {
		a.fastInFlight--
	}
	if p.probe {
		a.probeInFlight = false
	}
	if p.decision != nil {
		a.applyDecision(p, *p.decision)
	}
	a.notifyWaiters()
}

// applyDecision updates the admission after the answer to a request.
func (a *admission) applyDecision(p *permit, d decision) {
	now := a.now()
	sameEpoch := p.epoch == a.epoch
	if d.unavailable {
		a.countFailure(p, now)
		if d.closeGateFor > 0 {
			a.closeGate(d, now, sameEpoch)
		}
		return
	}
	a.lastAnswer = now
	a.failures = 0
	if a.breakerOpen { // any answer closes the breaker, but the limit starts again at one request
		a.breakerOpen = false
		a.limit = 1
		a.trial = true
	}
	if d.verdict == fanout.Delivered && sameEpoch {
		a.raiseLimit()
	}
	if d.closeGateFor > 0 || d.throttled { // a 429 slows requests down even if its wait is zero
		a.closeGate(d, now, sameEpoch)
	}
}

// raiseLimit raises the limit after a request succeeded.
func (a *admission) raiseLimit() {
	if a.trial && a.limit > 1 {
		a.trial = false // end of the trial: use the limit that closeGate halved
		return
	}
	a.trial = false
	a.limit = min(a.maxInFlight, 2*a.limit)
}

func (a *admission) countFailure(p *permit, now time.Time) {
	a.lastFailure = now
	switch {
	case p.probe:
		a.probeDelay = min(2*a.probeDelay, longestProbeDelay)
		a.nextProbe = now.Add(a.probeDelay)
		a.reportUnavailable()
	case a.breakerOpen: // the request was sent before the breaker opened
	default:
		a.failures++
		if a.failures >= breakerThreshold {
			a.openBreaker(now)
		}
	}
}

func (a *admission) openBreaker(now time.Time) {
	a.breakerOpen = true
	a.probeDelay = firstProbeDelay
	a.nextProbe = now.Add(firstProbeDelay)
	a.reportUnavailable()
}

func (a *admission) reportUnavailable() {
	if a.onUnavailable != nil {
		a.onUnavailable()
	}
}

// closeGate closes the gate. The first 429 after an opening halves the limit of the next opening.
// Further 429s answer requests of the same burst, so they do not halve the limit again.
func (a *admission) closeGate(d decision, now time.Time, sameEpoch bool) {
	if until := now.Add(d.closeGateFor); until.After(a.gateClosedUntil) {
		a.gateClosedUntil = until
	}
	if !sameEpoch {
		return
	}
	limit := a.limit
	a.beginEpoch()
	if limit < a.maxInFlight && d.throttled {
		a.limit = max(1, limit/2)
	}
}

// beginEpoch makes the next opening of the gate begin with one request as a trial.
func (a *admission) beginEpoch() {
	a.epoch++
	a.trial = true
	if a.limit == a.maxInFlight {
		a.limit = 1
	}
}

// targetState returns the state of the target for another process. If the breaker is open, it
// includes the time of the last failure, because the other process may have got an answer later.
func (a *admission) targetState() fanout.TargetState {
	a.mu.Lock()
	defer a.mu.Unlock()
	var state fanout.TargetState
	if a.now().Before(a.gateClosedUntil) {
		state.ClosedUntil = a.gateClosedUntil.UTC()
	}
	if a.breakerOpen {
		state.LastFailure = a.lastFailure.UTC()
	}
	return state
}

// applyTargetState applies the state that another process reported, if this process knows
// nothing newer. It checks the times of the state, because the state may be old when its task
// arrives, and the clock of the other process may differ.
func (a *admission) applyTargetState(state fanout.TargetState, maxRetryAfter time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if latest := now.Add(maxRetryAfter); state.ClosedUntil.After(latest) {
		state.ClosedUntil = latest
	}
	if state.ClosedUntil.After(now) && state.ClosedUntil.After(a.gateClosedUntil) {
		a.gateClosedUntil = state.ClosedUntil
		a.beginEpoch()
	}
	if !a.breakerOpen && state.LastFailure.After(a.lastAnswer) && now.Sub(state.LastFailure).Abs() < targetStateMaxAge {
		a.lastFailure = state.LastFailure
		a.openBreaker(now)
	}
}

func (a *admission) notifyWaiters() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// reserveSlot reserves a slot for one poll of the retry lane's queue. If no slot is free, it
// returns how long to wait (0 means until something changes), and a channel that is closed
// when something has changed. If a queue is not polled, its backlog stays in Temporal at no
// cost.
func (a *admission) reserveSlot() (ok bool, wait time.Duration, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	switch {
	case now.Before(a.gateClosedUntil):
		return false, a.gateClosedUntil.Sub(now), a.changed
	case a.breakerOpen && a.probeInFlight:
		return false, 0, a.changed
	case a.breakerOpen && now.Before(a.nextProbe):
		return false, a.nextProbe.Sub(now), a.changed
	case a.breakerOpen && a.slots > 0, a.slots >= a.currentLimit():
		return false, 0, a.changed
	}
	a.slots++
	return true, 0, nil
}

// releaseSlot returns a slot that was reserved.
func (a *admission) releaseSlot() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slots--
	a.notifyWaiters()
}

// blocked reports whether the target gets no requests at the moment, except for probes.
func (a *admission) blocked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.breakerOpen || a.now().Before(a.gateClosedUntil)
}

// changes returns a channel that is closed when the next permit or slot is released.
func (a *admission) changes() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// admissions keeps one admission per target.
type admissions struct {
	now           func() time.Time
	onUnavailable func(*target.Target) // becomes admission.onUnavailable of each target; may be nil

	mu       sync.Mutex
	byTarget map[string]*admission
}

func newAdmissions(now func() time.Time) *admissions {
	return &admissions{now: now, byTarget: make(map[string]*admission)}
}

// of returns the admission of a target.
func (s *admissions) of(t *target.Target) *admission {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byTarget[t.Name()] == nil {
		a := newAdmission(t.MaxConcurrency, s.now)
		if s.onUnavailable != nil {
			a.onUnavailable = func() { s.onUnavailable(t) }
		}
		s.byTarget[t.Name()] = a
	}
	return s.byTarget[t.Name()]
}

// each calls f for every target that has an admission.
func (s *admissions) each(f func(target string, a *admission)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, a := range s.byTarget {
		f(name, a)
	}
}
