package activities

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/sdk/worker"
	"pgregory.net/rapid"

	"genesys-fanout/fanout"
)

// TestAdmission_NeverMoreRequestsThanAllowedAndNoDeliveryIsForgotten lets deliveries of both lanes ask
// for the same target, whose behaviour changes: it answers, it answers 429, or it does not answer. The
// admission and the slot supplier are the real ones; the poller and the retries are small models. In
// any order of these steps:
//
//   - No request begins while the gate is closed, and there are never more requests in flight than
//     max_concurrency, or FastLaneLimit in the fast lane.
//   - After a 429 one request is in flight until one of them succeeds.
//   - After breakerThreshold failures in a row one request is in flight at a time, and the first of
//     them begins no earlier than firstProbeDelay later.
//   - When the target answers again, every delivery ends, and no permit or slot is left.
func TestAdmission_NeverMoreRequestsThanAllowedAndNoDeliveryIsForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, rt, func() {
			m := newAdmissionModel(rapid.SampledFrom([]int{1, 2, 3, 8, 64}).Draw(rt, "max_concurrency"))
			defer m.stop()
			rt.Repeat(map[string]func(*rapid.T){
				"": func(*rapid.T) { m.check() },
				"events in the fast lane": func(rt *rapid.T) {
					for range rapid.IntRange(1, 40).Draw(rt, "events") {
						m.begin(FastLane)
					}
				},
				"tasks in the retry lane": func(rt *rapid.T) {
					for range rapid.IntRange(1, 40).Draw(rt, "tasks") {
						m.begin(RetryLane)
					}
				},
				"the target changes": func(rt *rapid.T) {
					m.mu.Lock()
					defer m.mu.Unlock()
					m.latency = time.Duration(rapid.IntRange(1, 5000).Draw(rt, "latency in ms")) * time.Millisecond
					m.answer = rapid.SampledFrom([]*decision{
						&delivered, &unavailable, nil, new(tooManyRequests(0)), new(tooManyRequests(time.Second)), new(tooManyRequests(20 * time.Second)),
					}).Draw(rt, "answer")
				},
				"another process reports the target": func(rt *rapid.T) {
					m.report(rapid.Bool().Draw(rt, "the breaker is open"), time.Duration(rapid.IntRange(0, 10).Draw(rt, "the gate is closed for"))*time.Second)
				},
				"time passes": func(rt *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 40_000).Draw(rt, "ms")) * time.Millisecond)
				},
			})
			m.mu.Lock()
			m.answer, m.latency = &delivered, time.Millisecond
			m.mu.Unlock()
			m.begin(RetryLane)           // because a trial ends with a success only
			time.Sleep(10 * time.Minute) // far longer than the longest pause of the breaker and of the gate
			synctest.Wait()
			m.checkEnd()
		})
	})
}

// admissionModel is one target in one process, with its poller and its deliveries.
type admissionModel struct {
	admission *admission
	slots     *slotSupplier
	tasks     chan struct{} // in the queue of the retry lane
	cancel    context.CancelFunc
	running   sync.WaitGroup

	mu        sync.Mutex
	latency   time.Duration
	answer    *decision // nil: this process cancels the request
	open      int       // deliveries that have not succeeded
	violation string

	inFlight, fastInFlight int
	closedUntil            time.Time
	closings               int       // the answers that closed the gate or slowed the target
	slow                   bool      // a 429 came, and no request that began after it has succeeded
	slowInFlight           int       // requests in flight that began after it
	failures               int       // in a row
	breakerSince           time.Time // zero while the breaker is closed
	probes                 int       // requests in flight that began after the breaker opened
	openings               int
}

func newAdmissionModel(maxInFlight int) *admissionModel {
	ctx, cancel := context.WithCancel(context.Background())
	m := &admissionModel{
		admission: newAdmission(maxInFlight, time.Now), tasks: make(chan struct{}, 1<<20), cancel: cancel,
		latency: time.Millisecond, answer: &delivered,
	}
	m.slots = &slotSupplier{m.admission}
	for range 2 {
		m.running.Go(func() { m.poll(ctx) })
	}
	return m
}

func (m *admissionModel) stop() {
	m.cancel()
	m.running.Wait()
}

// poll is a poller of the SDK: it reserves a slot before it polls for a task.
func (m *admissionModel) poll(ctx context.Context) {
	for {
		if _, err := m.slots.ReserveSlot(ctx, nil); err != nil {
			return
		}
		select {
		case <-m.tasks:
		case <-ctx.Done():
			m.slots.ReleaseSlot(nil)
			return
		}
		m.running.Go(func() {
			defer m.slots.ReleaseSlot(worker.SlotReleaseInfo(nil))
			m.try(RetryLane)
		})
	}
}

// begin begins a delivery.
func (m *admissionModel) begin(lane Lane) {
	m.mu.Lock()
	m.open++
	m.mu.Unlock()
	if lane == FastLane {
		m.running.Go(func() { m.try(FastLane) })
		return
	}
	m.tasks <- struct{}{}
}

// try makes an attempt, if the admission allows it. If the event is not delivered, the retry lane
// gets it after the wait.
func (m *admissionModel) try(lane Lane) {
	p, denied := m.admission.acquire(lane)
	if denied != nil {
		m.retry(max(denied.wait, time.Second))
		return
	}
	m.mu.Lock()
	sent := m.send(lane)
	latency := m.latency
	m.mu.Unlock()
	time.Sleep(latency)
	m.mu.Lock()
	defer m.mu.Unlock()
	release(p, m.answer) // within the lock, so that the model knows the answer when the admission does
	m.answered(sent, m.answer)
	if m.answer == nil || m.answer.verdict != fanout.Delivered {
		m.retry(2 * time.Second)
		return
	}
	m.open--
}

// retry puts the delivery into the queue after a wait, as Temporal does.
func (m *admissionModel) retry(wait time.Duration) {
	time.AfterFunc(wait, func() { m.tasks <- struct{}{} })
}

// modelRequest is a request in flight.
type modelRequest struct {
	lane              Lane
	closings, opening int
}

// send checks the rules for a request that begins. The caller holds m.mu.
func (m *admissionModel) send(lane Lane) modelRequest {
	r := modelRequest{lane, m.closings, m.openings}
	m.inFlight++
	if lane == FastLane {
		m.fastInFlight++
	}
	if m.slow {
		m.slowInFlight++
	}
	now := time.Now()
	if !m.breakerSince.IsZero() {
		m.probes++
		m.forbid(now.Sub(m.breakerSince) < firstProbeDelay, "a probe began too early")
	}
	m.forbid(now.Before(m.closedUntil), "a request began while the gate was closed")
	m.forbid(m.inFlight > m.admission.maxInFlight, "more requests in flight than max_concurrency")
	m.forbid(m.fastInFlight > FastLaneLimit, "more first attempts in flight than FastLaneLimit")
	m.forbid(m.slowInFlight > 1, "more than one request in flight after a 429")
	m.forbid(m.probes > 1, "more than one probe in flight")
	return r
}

func (m *admissionModel) forbid(happened bool, text string) {
	if happened && m.violation == "" {
		m.violation = text
	}
}

// answered updates the rules after an answer. The caller holds m.mu.
func (m *admissionModel) answered(r modelRequest, d *decision) {
	m.inFlight--
	if r.lane == FastLane {
		m.fastInFlight--
	}
	if m.slow && r.closings == m.closings {
		m.slowInFlight--
	}
	if !m.breakerSince.IsZero() && r.opening == m.openings {
		m.probes--
	}
	switch {
	case d == nil:
		return
	case d.unavailable:
		if m.failures++; m.failures >= breakerThreshold && m.breakerSince.IsZero() {
			m.openBreaker()
		}
		return
	}
	m.failures = 0
	m.breakerSince = time.Time{}
	if d.throttled {
		m.closeGate(time.Now().Add(d.closeGateFor))
	} else if r.closings == m.closings {
		m.slow = false
	}
}

func (m *admissionModel) openBreaker() {
	m.breakerSince = time.Now()
	m.openings++
	m.probes = 0
}

func (m *admissionModel) closeGate(until time.Time) {
	m.slow = true
	m.closings++
	m.slowInFlight = 0
	if until.After(m.closedUntil) {
		m.closedUntil = until
	}
}

// report applies the state of the target as another process knows it.
func (m *admissionModel) report(breakerOpen bool, gateFor time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	var state fanout.TargetState
	if gateFor > 0 {
		state.ClosedUntil = now.Add(gateFor)
	}
	if breakerOpen {
		state.LastFailure = now
	}
	wasOpen := m.isBreakerOpen()
	m.admission.applyTargetState(state, time.Minute)
	if gateFor > 0 && state.ClosedUntil.After(m.closedUntil) {
		m.closeGate(state.ClosedUntil)
	}
	if !wasOpen && m.isBreakerOpen() {
		m.openBreaker()
	}
}

func (m *admissionModel) isBreakerOpen() bool {
	m.admission.mu.Lock()
	defer m.admission.mu.Unlock()
	return m.admission.breakerOpen
}

func (m *admissionModel) check() {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.violation != "" {
		broken("%s", m.violation)
	}
}

// checkEnd checks that every delivery has ended, and that the admission is as at its begin.
func (m *admissionModel) checkEnd() {
	m.check()
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case m.open > 0:
		broken("%d deliveries were forgotten", m.open)
	case a.inFlight != 0 || a.fastInFlight != 0 || a.probeInFlight:
		broken("%d permits are left", a.inFlight)
	case a.breakerOpen || a.trial:
		broken("the target is still held back")
	case a.slots > 2:
		broken("%d slots are left with two pollers", a.slots)
	}
}
