package ingest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// server takes as many starts at a time as it has places, each for service; the
// others wait in its queue.
type server struct {
	service time.Duration
	places  int
}

func (s server) latency(inFlight int) time.Duration {
	return s.service * time.Duration(max(inFlight, s.places)) / time.Duration(s.places)
}

// load keeps as many starts in flight as are allowed, for a while of the server's time.
func load(v *vegas, s server, now *time.Time, while time.Duration) {
	for end := now.Add(while); now.Before(end); {
		inFlight := v.allowed()
		latency := s.latency(inFlight)
		*now = now.Add(latency / time.Duration(inFlight))
		v.recordLatency(latency, inFlight, *now)
	}
}

func TestVegasFindsTheServersPlaces(t *testing.T) {
	for _, places := range []int{4, 16, 60} {
		v, now := newVegas(256), time.Now()
		load(v, server{10 * time.Millisecond, places}, &now, 5*time.Second)
		assert.GreaterOrEqual(t, v.limit, float64(places), "the server is never idle")
		assert.LessOrEqual(t, v.limit, float64(places+beta), "a short queue")
	}
}

func TestVegasFollowsAServerThatChanges(t *testing.T) {
	v, now := newVegas(256), time.Now()
	load(v, server{10 * time.Millisecond, 40}, &now, 5*time.Second)
	load(v, server{10 * time.Millisecond, 8}, &now, 5*time.Second)
	assert.LessOrEqual(t, v.limit, 8.0+beta, "it has fewer places")
	load(v, server{10 * time.Millisecond, 40}, &now, 5*time.Second)
	assert.GreaterOrEqual(t, v.limit, 40.0, "it has more")

	// A latency of its own, as after a move to another region, is no queue.
	load(v, server{50 * time.Millisecond, 40}, &now, 2*idleInterval)
	assert.GreaterOrEqual(t, v.limit, 40.0)
	load(v, server{10 * time.Millisecond, 40}, &now, 2*idleInterval)
	assert.LessOrEqual(t, v.limit, 40.0+beta)
}

func TestVegasStaysWithinItsBounds(t *testing.T) {
	v, now := newVegas(16), time.Now()
	load(v, server{10 * time.Millisecond, 60}, &now, time.Minute)
	assert.LessOrEqual(t, v.limit, 16.0)
	v, now = newVegas(2), time.Now()
	load(v, server{10 * time.Millisecond, 60}, &now, time.Minute)
	assert.InDelta(t, 2, v.limit, 0)
	v, now = newVegas(256), time.Now()
	load(v, server{10 * time.Millisecond, 1}, &now, time.Minute)
	assert.LessOrEqual(t, v.limit, minStarts+beta*1.0, "idle is measured with the fewest")
	assert.GreaterOrEqual(t, v.limit, float64(minStarts))
}

func TestVegasHalvesWhenRefused(t *testing.T) {
	v, now := newVegas(256), time.Now()
	load(v, server{10 * time.Millisecond, 60}, &now, 5*time.Second)
	before := v.limit
	for range 10 {
		v.recordRejection()
	}
	assert.InDelta(t, before/2, v.limit, 1, "once for all that were in flight")
	for range 10 {
		v.recordRejection()
		load(v, server{10 * time.Millisecond, 60}, &now, 10*time.Millisecond)
		v.rejected = false
	}
	assert.InDelta(t, 1, v.limit, 0, "never none at all")
	load(v, server{10 * time.Millisecond, 60}, &now, 5*time.Second)
	assert.GreaterOrEqual(t, v.limit, 60.0, "it recovers")
}

func TestVegasDoesNotGrowUntested(t *testing.T) {
	v, now := newVegas(256), time.Now()
	for range 10_000 {
		now = now.Add(10 * time.Millisecond)
		v.recordLatency(5*time.Millisecond, 1, now)
	}
	assert.LessOrEqual(t, v.limit, float64(minStarts), "one start at a time says nothing of more")
}
