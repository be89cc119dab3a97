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

func testHold(limit int) (*hold, *clock) {
	c := &clock{now: noon}
	return newHold(limit, func() time.Time { return c.now }), c
}

var (
	good        = decision{verdict: fanout.Delivered}
	unavailable = decision{verdict: fanout.Retry, unavailable: true}
)

func tooMany(d time.Duration) decision {
	return decision{verdict: fanout.Retry, retryAfter: d, throttle: d, throttled: true}
}

// fill calls enter until it is refused, and returns the permits.
func fill(h *hold, lane Lane) []permit {
	var permits []permit
	for {
		p, refusal := h.enter(lane)
		if refusal != nil {
			return permits
		}
		permits = append(permits, p)
	}
}

// answerAll gives all permits back with the same answer.
func answerAll(h *hold, permits []permit, d decision) {
	for _, p := range permits {
		h.leave(p, &d)
	}
}

func enter(t *testing.T, h *hold, lane Lane) permit {
	t.Helper()
	p, refusal := h.enter(lane)
	require.Nil(t, refusal)
	return p
}

func TestHoldBoundsRequestsInFlight(t *testing.T) {
	h, _ := testHold(64)
	fast := fill(h, FastLane)
	assert.Len(t, fast, 32, "the fast lane takes at most 32")
	slow := fill(h, RetryLane)
	assert.Len(t, slow, 32, "both lanes together take max_concurrency")
	answerAll(h, fast, good)
	assert.Len(t, fill(h, RetryLane), 32)

	one, _ := testHold(1)
	assert.Len(t, fill(one, FastLane), 1)
	_, refusal := one.enter(RetryLane)
	require.NotNil(t, refusal)
	assert.Zero(t, refusal.wait, "worth coming again as soon as a request ends")
}

func TestGateClosesOn429AndReopensSlowly(t *testing.T) {
	h, c := testHold(64)
	burst := []permit{enter(t, h, FastLane), enter(t, h, RetryLane), enter(t, h, RetryLane)}
	too := tooMany(10 * time.Second)
	h.leave(burst[0], &too)

	_, refusal := h.enter(RetryLane)
	require.NotNil(t, refusal)
	assert.Equal(t, 10*time.Second, refusal.wait)
	assert.Empty(t, fill(h, FastLane))
	assert.True(t, h.held())

	c.advance(4 * time.Second)
	h.leave(burst[1], &too) // this request was in flight with the first, but the gate now opens later
	h.leave(burst[2], &good)
	c.advance(9 * time.Second)
	assert.True(t, h.held(), "closed until the later of both")
	c.advance(time.Second)
	assert.False(t, h.held())

	for _, allowed := range []int{1, 2, 4, 8, 16, 32, 64} {
		permits := fill(h, RetryLane)
		assert.Len(t, permits, allowed)
		h.leave(permits[0], &good)
		for _, p := range permits[1:] {
			h.leave(p, nil)
		}
	}
	assert.Len(t, fill(h, RetryLane), 64, "fully open again")
}

func TestGateHalvesOnALater429(t *testing.T) {
	h, c := testHold(64)
	p := enter(t, h, RetryLane)
	too := tooMany(time.Second)
	h.leave(p, &too)
	c.advance(time.Second)
	for range 3 { // after each success the limit doubles: two, four, eight
		p := enter(t, h, RetryLane)
		h.leave(p, &good)
	}
	eight := fill(h, RetryLane)
	require.Len(t, eight, 8)
	answerAll(h, eight, too) // only the first 429 of an opening halves the limit

	c.advance(time.Second)
	trial := fill(h, RetryLane)
	require.Len(t, trial, 1, "every opening begins with one")
	h.leave(trial[0], &good)
	assert.Len(t, fill(h, RetryLane), 4, "half of what the 429 met")
}

func TestGateNeverBelowOne(t *testing.T) {
	h, c := testHold(8)
	for range 5 {
		p := enter(t, h, RetryLane)
		too := tooMany(time.Second)
		h.leave(p, &too)
		c.advance(time.Second)
	}
	assert.Len(t, fill(h, RetryLane), 1)
}

func TestUsedUpRateLimitClosesTheGate(t *testing.T) {
	h, c := testHold(8)
	p := enter(t, h, FastLane)
	h.leave(p, &decision{verdict: fanout.Delivered, throttle: 5 * time.Second})
	assert.True(t, h.held())
	c.advance(5 * time.Second)
	assert.Len(t, fill(h, RetryLane), 1)
}

func openBreaker(t *testing.T, h *hold) {
	t.Helper()
	for range breakerThreshold {
		p := enter(t, h, RetryLane)
		h.leave(p, &unavailable)
	}
	require.True(t, h.open)
}

func TestBreakerOpensAfterTenFailuresInARow(t *testing.T) {
	h, _ := testHold(64)
	rejected := decision{verdict: fanout.Rejected}
	for _, between := range []decision{good, rejected, {verdict: fanout.Retry, throttled: true}} {
		for range breakerThreshold - 1 {
			h.leave(enter(t, h, FastLane), &unavailable)
		}
		h.leave(enter(t, h, FastLane), &between)
		assert.False(t, h.open, "an answer between starts the count anew")
	}
	openBreaker(t, h)
	assert.True(t, h.held())
	assert.Empty(t, fill(h, FastLane), "new events skip the fast lane")
}

func TestBreakerProbesOneAtATimeDoublingTo30s(t *testing.T) {
	h, c := testHold(64)
	openBreaker(t, h)
	lanes := []Lane{FastLane, RetryLane} // both lanes probe, because a process may have only the fast lane
	for i, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		c.advance(wait*time.Second - time.Millisecond)
		assert.Empty(t, fill(h, RetryLane))
		assert.Empty(t, fill(h, FastLane))
		c.advance(time.Millisecond)
		lane := lanes[i%2]
		probes := fill(h, lane)
		require.Len(t, probes, 1, lane)
		assert.Empty(t, fill(h, lanes[(i+1)%2]), "one probe at a time, whichever lane it comes from")
		assert.True(t, probes[0].probe)
		h.leave(probes[0], &unavailable)
	}
	c.advance(30 * time.Second)
	p := enter(t, h, RetryLane)
	h.leave(p, &good)
	assert.False(t, h.held())
	assert.Len(t, fill(h, RetryLane), 2, "who comes back gets little first")
}

func TestBreakerIgnoresLateFailures(t *testing.T) {
	h, c := testHold(64)
	late := enter(t, h, RetryLane)
	openBreaker(t, h)
	c.advance(time.Second)
	h.leave(late, &unavailable)
	assert.True(t, enter(t, h, RetryLane).probe, "the probe is neither moved nor used up")
}

func TestBreakerNeverProbesAClosedGate(t *testing.T) {
	h, c := testHold(64)
	late := enter(t, h, RetryLane)
	openBreaker(t, h)
	answered := enterAfter(t, h, c, time.Second)
	h.leave(answered, &good)
	too := tooMany(20 * time.Second)
	h.leave(late, &too)
	openBreakerAgain := fill(h, RetryLane)
	assert.Empty(t, openBreakerAgain)
	c.advance(19 * time.Second)
	ok, wait, _ := h.reserve()
	assert.False(t, ok)
	assert.Equal(t, time.Second, wait)
}

func enterAfter(t *testing.T, h *hold, c *clock, d time.Duration) permit {
	t.Helper()
	c.advance(d)
	return enter(t, h, RetryLane)
}

func TestReserveFollowsTheHold(t *testing.T) {
	h, c := testHold(2)
	reserve := func() bool { ok, _, _ := h.reserve(); return ok }
	assert.True(t, reserve())
	assert.True(t, reserve())
	assert.False(t, reserve(), "no more polls than requests are allowed")
	h.release()
	assert.True(t, reserve())
	h.release()
	h.release()

	openBreaker(t, h)
	ok, wait, _ := h.reserve()
	assert.False(t, ok, "a queue whose target is away is not polled")
	assert.Equal(t, time.Second, wait)
	c.advance(time.Second)
	assert.True(t, reserve(), "but for the probe")
	assert.False(t, reserve())
	p := enter(t, h, RetryLane)
	h.release()
	assert.False(t, reserve(), "not while the probe is out")
	_, _, changed := h.reserve()
	h.leave(p, &good)
	select {
	case <-changed:
	default:
		t.Fatal("who waits is not told that the target is back")
	}
	assert.True(t, reserve())
}

func TestLearnClosesTheGate(t *testing.T) {
	h, c := testHold(64)
	h.learn(fanout.TargetState{ClosedUntil: c.now.Add(time.Minute)}, time.Hour)
	assert.Empty(t, fill(h, RetryLane))
	c.advance(time.Minute)
	assert.Len(t, fill(h, RetryLane), 1, "it opens as one that was closed here")

	h, c = testHold(64)
	h.learn(fanout.TargetState{ClosedUntil: c.now.Add(time.Hour)}, time.Minute)
	c.advance(time.Minute)
	assert.Len(t, fill(h, RetryLane), 1, "max_retry_after is this process's too")
	assert.Zero(t, h.sighting())

	h, c = testHold(64)
	h.learn(fanout.TargetState{ClosedUntil: c.now.Add(-time.Second)}, time.Hour)
	assert.Len(t, fill(h, RetryLane), 64, "an old one says nothing")
}

func TestLearnOpensTheBreaker(t *testing.T) {
	away, _ := testHold(64)
	openBreaker(t, away)
	seen := away.sighting()

	h, c := testHold(64)
	h.learn(seen, time.Hour)
	assert.True(t, h.held())
	c.advance(firstProbe)
	probe := enter(t, h, RetryLane)
	assert.True(t, probe.probe)
	h.leave(probe, &good)
	h.learn(seen, time.Hour)
	assert.False(t, h.held(), "it has answered since")

	for _, skew := range []time.Duration{sightingAge, -sightingAge} {
		h, c := testHold(64)
		h.learn(fanout.TargetState{AwayAt: c.now.Add(skew)}, time.Hour)
		assert.False(t, h.held(), "too long ago, or by another clock")
	}
}

// TestGateReopensSlowlyWhateverTheWait covers a 429 that asks for no wait, or for one that
// has already passed by our clock.
func TestGateReopensSlowlyWhateverTheWait(t *testing.T) {
	h, _ := testHold(64)
	too := tooMany(0)
	h.leave(enter(t, h, RetryLane), &too)
	assert.False(t, h.held())
	trial := fill(h, RetryLane)
	require.Len(t, trial, 1)
	h.leave(trial[0], &good)
	assert.Len(t, fill(h, RetryLane), 2)
}

// TestUsedUpRateLimitClosesTheGateWhateverTheStatus covers a status that also counts
// towards the breaker.
func TestUsedUpRateLimitClosesTheGateWhateverTheStatus(t *testing.T) {
	h, c := testHold(64)
	h.leave(enter(t, h, RetryLane), &decision{verdict: fanout.Retry, unavailable: true, throttle: 5 * time.Second})
	assert.True(t, h.held())
	assert.Equal(t, 1, h.failures)
	c.advance(5 * time.Second)
	assert.Len(t, fill(h, RetryLane), 1)
}

// TestLearnKnowsWhatIsOlder checks that the sighting of one process does not open the
// breaker of another process to which the target has answered since.
func TestLearnKnowsWhatIsOlder(t *testing.T) {
	ingest, c := testHold(64)
	worker := newHold(64, ingest.now)
	openBreaker(t, ingest)
	worker.learn(ingest.sighting(), time.Hour)
	c.advance(firstProbe)
	probe := enter(t, ingest, FastLane)
	ingest.leave(probe, &unavailable) // the next probe is due in 2 s
	c.advance(time.Millisecond)
	worker.leave(enter(t, worker, RetryLane), &good)
	c.advance(firstProbe)
	require.Empty(t, fill(ingest, FastLane))
	worker.learn(ingest.sighting(), time.Hour)
	assert.False(t, worker.held())
}
