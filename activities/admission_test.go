package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/fanout"
)

// clock is a clock that moves only when the test advances it.
type clock struct{ now time.Time }

func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

func testAdmission(limit int) (*admission, *clock) {
	c := &clock{now: noon}
	return newAdmission(limit, func() time.Time { return c.now }), c
}

var (
	delivered   = decision{verdict: fanout.Delivered}
	unavailable = decision{verdict: fanout.Retry, unavailable: true}
)

func tooManyRequests(d time.Duration) decision {
	return decision{verdict: fanout.Retry, retryAfter: d, closeGateFor: d, throttled: true}
}

// fill acquires permits until one is denied, and returns them.
func fill(a *admission, lane Lane) []*permit {
	var permits []*permit
	for {
		p, denied := a.acquire(lane)
		if denied != nil {
			return permits
		}
		permits = append(permits, p)
	}
}

// release releases a permit after an answer. If d is nil, no request was sent.
func release(p *permit, d *decision) {
	p.decision = d
	p.release()
}

// releaseAll releases all permits after the same answer.
func releaseAll(permits []*permit, d decision) {
	for _, p := range permits {
		release(p, &d)
	}
}

// acquire acquires a permit that must not be denied.
func acquire(t *testing.T, a *admission, lane Lane) *permit {
	t.Helper()
	p, denied := a.acquire(lane)
	require.Nil(t, denied)
	return p
}

func TestAdmission_BoundsRequestsInFlight(t *testing.T) {
	a, _ := testAdmission(64)
	fast := fill(a, FastLane)
	assert.Len(t, fast, 32, "the fast lane takes at most 32")
	slow := fill(a, RetryLane)
	assert.Len(t, slow, 32, "both lanes together take max_concurrency")
	releaseAll(fast, delivered)
	assert.Len(t, fill(a, RetryLane), 32)

	one, _ := testAdmission(1)
	assert.Len(t, fill(one, FastLane), 1)
	_, denied := one.acquire(RetryLane)
	require.NotNil(t, denied)
	assert.Zero(t, denied.wait, "a permit may be free as soon as a request ends")
}

func TestGate_ClosesAfter429AndReopensSlowly(t *testing.T) {
	a, c := testAdmission(64)
	burst := []*permit{acquire(t, a, FastLane), acquire(t, a, RetryLane), acquire(t, a, RetryLane)}
	too := tooManyRequests(10 * time.Second)
	release(burst[0], &too)

	_, denied := a.acquire(RetryLane)
	require.NotNil(t, denied)
	assert.Equal(t, 10*time.Second, denied.wait)
	assert.Empty(t, fill(a, FastLane))
	assert.True(t, a.blocked())

	c.advance(4 * time.Second)
	release(burst[1], &too) // this request was in flight with the first, but the gate now opens later
	release(burst[2], &delivered)
	c.advance(9 * time.Second)
	assert.True(t, a.blocked(), "closed until the later of the two times")
	c.advance(time.Second)
	assert.False(t, a.blocked())

	for _, allowed := range []int{1, 2, 4, 8, 16, 32, 64} {
		permits := fill(a, RetryLane)
		assert.Len(t, permits, allowed)
		release(permits[0], &delivered)
		for _, p := range permits[1:] {
			release(p, nil)
		}
	}
	assert.Len(t, fill(a, RetryLane), 64, "fully open again")
}

func TestGate_Later429HalvesTheLimit(t *testing.T) {
	a, c := testAdmission(64)
	p := acquire(t, a, RetryLane)
	too := tooManyRequests(time.Second)
	release(p, &too)
	c.advance(time.Second)
	for range 3 { // after each success the limit doubles: two, four, eight
		p := acquire(t, a, RetryLane)
		release(p, &delivered)
	}
	eight := fill(a, RetryLane)
	require.Len(t, eight, 8)
	releaseAll(eight, too) // only the first 429 of an opening halves the limit

	c.advance(time.Second)
	trial := fill(a, RetryLane)
	require.Len(t, trial, 1, "every opening begins with one request")
	release(trial[0], &delivered)
	assert.Len(t, fill(a, RetryLane), 4, "half of the limit at the time of the 429")
}

func TestGate_LimitIsNeverBelowOne(t *testing.T) {
	a, c := testAdmission(8)
	for range 5 {
		p := acquire(t, a, RetryLane)
		too := tooManyRequests(time.Second)
		release(p, &too)
		c.advance(time.Second)
	}
	assert.Len(t, fill(a, RetryLane), 1)
}

func TestGate_ClosesWhenTheRateLimitIsUsedUp(t *testing.T) {
	a, c := testAdmission(8)
	p := acquire(t, a, FastLane)
	release(p, &decision{verdict: fanout.Delivered, closeGateFor: 5 * time.Second})
	assert.True(t, a.blocked())
	c.advance(5 * time.Second)
	assert.Len(t, fill(a, RetryLane), 1)
}

func openBreaker(t *testing.T, a *admission) {
	t.Helper()
	for range breakerThreshold {
		p := acquire(t, a, RetryLane)
		release(p, &unavailable)
	}
	require.True(t, a.breakerOpen)
}

func TestBreaker_OpensAfterTenFailuresInARow(t *testing.T) {
	a, _ := testAdmission(64)
	rejected := decision{verdict: fanout.Rejected}
	for _, between := range []decision{delivered, rejected, {verdict: fanout.Retry, throttled: true}} {
		for range breakerThreshold - 1 {
			release(acquire(t, a, FastLane), &unavailable)
		}
		release(acquire(t, a, FastLane), &between)
		assert.False(t, a.breakerOpen, "an answer between two failures restarts the count")
	}
	openBreaker(t, a)
	assert.True(t, a.blocked())
	assert.Empty(t, fill(a, FastLane), "new events skip the fast lane")
}

func TestBreaker_SendsOneProbeAtATimeWithDelaysUpTo30s(t *testing.T) {
	a, c := testAdmission(64)
	openBreaker(t, a)
	lanes := []Lane{FastLane, RetryLane} // both lanes probe, because a process may have only the fast lane
	for i, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		c.advance(wait*time.Second - time.Millisecond)
		assert.Empty(t, fill(a, RetryLane))
		assert.Empty(t, fill(a, FastLane))
		c.advance(time.Millisecond)
		lane := lanes[i%2]
		probes := fill(a, lane)
		require.Len(t, probes, 1, lane)
		assert.Empty(t, fill(a, lanes[(i+1)%2]), "one probe at a time, in whichever lane")
		assert.True(t, probes[0].probe)
		release(probes[0], &unavailable)
	}
	c.advance(30 * time.Second)
	p := acquire(t, a, RetryLane)
	release(p, &delivered)
	assert.False(t, a.blocked())
	assert.Len(t, fill(a, RetryLane), 2, "after a probe that was answered the limit is low")
}

func TestBreaker_IgnoresFailuresOfRequestsSentBeforeItOpened(t *testing.T) {
	a, c := testAdmission(64)
	late := acquire(t, a, RetryLane)
	openBreaker(t, a)
	c.advance(time.Second)
	release(late, &unavailable)
	assert.True(t, acquire(t, a, RetryLane).probe, "the failure neither delays the probe nor counts as one")
}

func TestGate_ClosedByALateAnswerBlocksAlsoAfterAProbe(t *testing.T) {
	a, c := testAdmission(64)
	late := acquire(t, a, RetryLane)
	openBreaker(t, a)
	answered := acquireAfter(t, a, c, time.Second)
	release(answered, &delivered)
	too := tooManyRequests(20 * time.Second)
	release(late, &too)
	assert.Empty(t, fill(a, RetryLane))
	c.advance(19 * time.Second)
	ok, wait, _ := a.reserveSlot()
	assert.False(t, ok)
	assert.Equal(t, time.Second, wait)
}

func acquireAfter(t *testing.T, a *admission, c *clock, d time.Duration) *permit {
	t.Helper()
	c.advance(d)
	return acquire(t, a, RetryLane)
}

func TestReserveSlot_FollowsTheAdmission(t *testing.T) {
	a, c := testAdmission(2)
	reserve := func() bool { ok, _, _ := a.reserveSlot(); return ok }
	assert.True(t, reserve())
	assert.True(t, reserve())
	assert.False(t, reserve(), "no more polls than requests that are allowed")
	a.releaseSlot()
	assert.True(t, reserve())
	a.releaseSlot()
	a.releaseSlot()

	openBreaker(t, a)
	ok, wait, _ := a.reserveSlot()
	assert.False(t, ok, "the queue of an unavailable target is not polled")
	assert.Equal(t, time.Second, wait)
	c.advance(time.Second)
	assert.True(t, reserve(), "except for the probe")
	assert.False(t, reserve())
	p := acquire(t, a, RetryLane)
	a.releaseSlot()
	assert.False(t, reserve(), "not while the probe is in flight")
	_, _, changed := a.reserveSlot()
	release(p, &delivered)
	select {
	case <-changed:
	default:
		t.Fatal("waiters are not notified that the target answers again")
	}
	assert.True(t, reserve())
}

func TestApplyTargetState_ClosesTheGate(t *testing.T) {
	a, c := testAdmission(64)
	a.applyTargetState(fanout.TargetState{ClosedUntil: c.now.Add(time.Minute)}, time.Hour)
	assert.Empty(t, fill(a, RetryLane))
	c.advance(time.Minute)
	assert.Len(t, fill(a, RetryLane), 1, "it opens slowly, like a gate that was closed by an answer here")

	a, c = testAdmission(64)
	a.applyTargetState(fanout.TargetState{ClosedUntil: c.now.Add(time.Hour)}, time.Minute)
	c.advance(time.Minute)
	assert.Len(t, fill(a, RetryLane), 1, "max_retry_after bounds the time that another process reports too")
	assert.Zero(t, a.targetState())

	a, c = testAdmission(64)
	a.applyTargetState(fanout.TargetState{ClosedUntil: c.now.Add(-time.Second)}, time.Hour)
	assert.Len(t, fill(a, RetryLane), 64, "a time in the past is ignored")
}

func TestApplyTargetState_OpensTheBreaker(t *testing.T) {
	other, _ := testAdmission(64)
	openBreaker(t, other)
	state := other.targetState()

	a, c := testAdmission(64)
	a.applyTargetState(state, time.Hour)
	assert.True(t, a.blocked())
	c.advance(firstProbeDelay)
	probe := acquire(t, a, RetryLane)
	assert.True(t, probe.probe)
	release(probe, &delivered)
	a.applyTargetState(state, time.Hour)
	assert.False(t, a.blocked(), "the target has answered since")

	for _, skew := range []time.Duration{targetStateMaxAge, -targetStateMaxAge} {
		a, c := testAdmission(64)
		a.applyTargetState(fanout.TargetState{LastFailure: c.now.Add(skew)}, time.Hour)
		assert.False(t, a.blocked(), "a time that is too long ago, or by a clock that is wrong, is ignored")
	}
}

// The 429 asks for no wait, or for one that has already passed by our clock.
func TestGate_429WithoutAWaitLowersTheLimitToo(t *testing.T) {
	a, _ := testAdmission(64)
	too := tooManyRequests(0)
	release(acquire(t, a, RetryLane), &too)
	assert.False(t, a.blocked())
	trial := fill(a, RetryLane)
	require.Len(t, trial, 1)
	release(trial[0], &delivered)
	assert.Len(t, fill(a, RetryLane), 2)
}

// The rate limit is used up, and the status counts towards the breaker.
func TestGate_ClosesWhateverTheStatusIs(t *testing.T) {
	a, c := testAdmission(64)
	release(acquire(t, a, RetryLane), &decision{verdict: fanout.Retry, unavailable: true, closeGateFor: 5 * time.Second})
	assert.True(t, a.blocked())
	assert.Equal(t, 1, a.failures)
	c.advance(5 * time.Second)
	assert.Len(t, fill(a, RetryLane), 1)
}

// The state of one process does not open the breaker of another process that has had an answer
// since.
func TestApplyTargetState_IgnoresAFailureBeforeTheLastAnswer(t *testing.T) {
	ingest, c := testAdmission(64)
	worker := newAdmission(64, ingest.now)
	openBreaker(t, ingest)
	worker.applyTargetState(ingest.targetState(), time.Hour)
	c.advance(firstProbeDelay)
	probe := acquire(t, ingest, FastLane)
	release(probe, &unavailable) // the next probe is due in 2 s
	c.advance(time.Millisecond)
	release(acquire(t, worker, RetryLane), &delivered)
	c.advance(firstProbeDelay)
	require.Empty(t, fill(ingest, FastLane))
	worker.applyTargetState(ingest.targetState(), time.Hour)
	assert.False(t, worker.blocked())
}

// If it kept its permit, a target with max_concurrency 1 would never get a request again.
func TestAttempt_ReleasesItsPermitAfterAPanic(t *testing.T) {
	set := load(t, "http://127.0.0.1:1", `- {name: a, url: $URL, max_concurrency: 1}`)
	acts, target := New(Options{Targets: set}), set.All()[0]
	acts.metrics = nil
	assert.Panics(t, func() { acts.attemptInFastLane(t.Context(), target, fanout.DeliverInput{Policy: target.Policy}) })
	assert.Len(t, fill(acts.admissions.of(target), FastLane), 1)
}

// The request was sent before the gate closed, so its success says nothing about the rate that the
// target allows now, also if it is the answer that closes the breaker.
func TestAdmission_AnAnswerFromBeforeTheClosingDoesNotEndTheTrial(t *testing.T) {
	a, c := testAdmission(8)
	early := acquire(t, a, FastLane)
	a.applyTargetState(fanout.TargetState{ClosedUntil: c.now.Add(time.Second), LastFailure: c.now}, time.Minute)
	release(early, &delivered)
	c.advance(time.Second)
	assert.Len(t, fill(a, RetryLane), 1)
}

// The breaker opens by the report of another process while this one has as many requests in flight as
// the target may get.
func TestAdmission_AProbeWaitsForMaxConcurrency(t *testing.T) {
	a, c := testAdmission(2)
	before := fill(a, RetryLane)
	a.applyTargetState(fanout.TargetState{LastFailure: c.now}, time.Minute)
	c.advance(firstProbeDelay)
	assert.Empty(t, fill(a, RetryLane))
	release(before[0], &unavailable)
	assert.Len(t, fill(a, RetryLane), 1)
}
