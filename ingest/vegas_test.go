package ingest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// server models a server that runs as many starts at a time as it has workers, each for the
// service time. The other starts wait in its queue.
type server struct {
	service time.Duration
	workers int
}

func (s server) latency(inFlight int) time.Duration {
	return s.service * time.Duration(max(inFlight, s.workers)) / time.Duration(s.workers)
}

// load keeps as many starts in flight as are allowed, for a span of simulated time.
func load(v *vegas, s server, now *time.Time, span time.Duration) {
	for end := now.Add(span); now.Before(end); {
		inFlight := v.allowed()
		latency := s.latency(inFlight)
		*now = now.Add(latency / time.Duration(inFlight))
		v.recordLatency(latency, inFlight, *now)
	}
}

func TestVegas_FindsHowManyStartsTheServerRuns(t *testing.T) {
	for _, workers := range []int{4, 16, 60} {
		v, now := newVegas(256), time.Now()
		load(v, server{10 * time.Millisecond, workers}, &now, 5*time.Second)
		assert.GreaterOrEqual(t, v.limit, float64(workers), "the server is never idle")
		assert.LessOrEqual(t, v.limit, float64(workers+beta), "a short queue")
	}
}

func TestVegas_FollowsAServerThatChanges(t *testing.T) {
	v, now := newVegas(256), time.Now()
	load(v, server{10 * time.Millisecond, 40}, &now, 5*time.Second)
	load(v, server{10 * time.Millisecond, 8}, &now, 5*time.Second)
	assert.LessOrEqual(t, v.limit, 8.0+beta, "it has fewer workers")
	load(v, server{10 * time.Millisecond, 40}, &now, 5*time.Second)
	assert.GreaterOrEqual(t, v.limit, 40.0, "it has more workers")

	// A higher latency of every start, as after a move to another region, is not a queue.
	load(v, server{50 * time.Millisecond, 40}, &now, 2*idleInterval)
	assert.GreaterOrEqual(t, v.limit, 40.0)
	load(v, server{10 * time.Millisecond, 40}, &now, 2*idleInterval)
	assert.LessOrEqual(t, v.limit, 40.0+beta)
}

func TestVegas_StaysWithinItsBounds(t *testing.T) {
	v, now := newVegas(16), time.Now()
	load(v, server{10 * time.Millisecond, 60}, &now, time.Minute)
	assert.LessOrEqual(t, v.limit, 16.0)
	v, now = newVegas(2), time.Now()
	load(v, server{10 * time.Millisecond, 60}, &now, time.Minute)
	assert.InDelta(t, 2, v.limit, 0)
	v, now = newVegas(256), time.Now()
	load(v, server{10 * time.Millisecond, 1}, &now, time.Minute)
	assert.LessOrEqual(t, v.limit, minStarts+beta*1.0, "idle is measured with minStarts")
	assert.GreaterOrEqual(t, v.limit, float64(minStarts))
}

func TestVegas_HalvesWhenStartsAreRejected(t *testing.T) {
	v, now := newVegas(256), time.Now()
	load(v, server{10 * time.Millisecond, 60}, &now, 5*time.Second)
	before := v.limit
	for range 10 {
		v.recordRejection()
	}
	assert.InDelta(t, before/2, v.limit, 1, "once for all starts that were in flight")
	for range 10 {
		v.recordRejection()
		load(v, server{10 * time.Millisecond, 60}, &now, 10*time.Millisecond)
		v.rejected = false
	}
	assert.InDelta(t, 1, v.limit, 0, "one start is always allowed")
	load(v, server{10 * time.Millisecond, 60}, &now, 5*time.Second)
	assert.GreaterOrEqual(t, v.limit, 60.0, "it recovers")
}

func TestVegas_DoesNotGrowWithoutFullLoad(t *testing.T) {
	v, now := newVegas(256), time.Now()
	for range 10_000 {
		now = now.Add(10 * time.Millisecond)
		v.recordLatency(5*time.Millisecond, 1, now)
	}
	assert.LessOrEqual(t, v.limit, float64(minStarts), "one start at a time proves nothing about more")
}
