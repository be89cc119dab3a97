package ingest

import (
	"context"
	"math"
	"sync"
	"time"
)

// The number of starts in flight follows TCP Vegas (Brakmo and Peterson, 1995):
// a start that takes longer than one on an idle server waits in a queue there,
// and limit × (1 − idle/now) is that queue's length. Between alpha and beta
// queued starts the server has always one to go on with; more only make every
// event later, and where server and ingest share a machine, all slower: 240
// events/s with 4 in flight, 180 with 64 and 140 with 256 were seen on two cores
// with the dev server.
//
// As in BBR (Cardwell et al., 2016), the latency of an idle server is measured
// anew now and then by going down to few starts in flight: it changes with the
// server, and under steady load it would never be seen again.
const (
	alpha, beta = 3, 6 // queued starts; Vegas counts packets in the same range

	// fewestStarts are always allowed, unless the server says that it is busy.
	fewestStarts = 4

	// smallestWindow is the fewest answers that a decision rests on.
	smallestWindow = 16

	// idleEvery is the time from one look at an idle server's latency to the
	// next. One window of 16 answers by 4 at a time takes 4 latencies, 40 ms at
	// 10 ms each: under 1 % of the time.
	idleEvery = 15 * time.Second
)

// vegas finds how many starts may be in flight. It is not safe for concurrent use.
type vegas struct {
	most  float64 // never more than these
	limit float64

	idle      time.Duration // latency of a start on an idle server; 0: not known
	measured  time.Time     // when idle was
	measuring bool          // the current window measures it
	growing   bool          // doubling, until the first queue is seen

	answers int // of the current window
	total   time.Duration
	full    bool // the window has had limit starts in flight
	busy    bool // the server refused one
}

func newVegas(most int) *vegas {
	v := &vegas{most: float64(most), growing: true, measuring: true}
	v.set(fewestStarts)
	return v
}

// allowed is the number of starts that may be in flight now.
func (v *vegas) allowed() int {
	if v.measuring {
		return int(min(v.limit, fewestStarts))
	}
	return int(v.limit)
}

// answered records a start that Temporal answered after latency, with inFlight
// starts out, this one among them. Finding a run of the event is an answer too:
// a consumer group that is rewound gets nothing else for hours.
func (v *vegas) answered(latency time.Duration, inFlight int, now time.Time) {
	v.answers++
	v.total += latency
	v.full = v.full || inFlight >= v.allowed()
	if v.answers >= max(smallestWindow, v.allowed()) {
		v.decide(now)
	}
}

// refused takes note that the server is too busy to take a start: half as many
// from here on. What was in flight with it is refused for the same reason, so
// this counts once per window.
func (v *vegas) refused() {
	if v.busy {
		return
	}
	v.busy = true
	v.growing = false
	v.limit = max(1, math.Floor(v.limit/2))
}

// decide ends a window.
func (v *vegas) decide(now time.Time) {
	latency := v.total / time.Duration(v.answers)
	switch {
	case v.measuring:
		v.idle, v.measured, v.measuring = latency, now, false
	case v.busy:
	default:
		v.idle = min(v.idle, latency)
		v.follow(v.limit * (1 - float64(v.idle)/float64(latency)))
		v.measuring = now.Sub(v.measured) >= idleEvery
	}
	v.answers, v.total, v.full, v.busy = 0, 0, false, false
}

// follow moves the limit by the length of the queue.
func (v *vegas) follow(queued float64) {
	switch {
	case queued > beta:
		v.growing = false
		v.set(v.limit - math.Ceil((queued-beta)/2))
	case queued >= alpha:
		v.growing = false
	case !v.full: // there is not enough to start: the limit was not put to the test
	case v.growing:
		v.set(2 * v.limit)
	default:
		v.set(v.limit + 1)
	}
}

func (v *vegas) set(limit float64) { v.limit = min(max(limit, fewestStarts), v.most) }

// flight bounds what is on its way to Temporal: the starts it is asked for at a
// moment by vegas, and by most the messages that it does not hold yet, those
// among them that it refused and that wait to be tried again.
type flight struct {
	mu       sync.Mutex
	limit    *vegas
	most     int
	messages int
	inFlight int
	changed  chan struct{} // closed and replaced when a waiter should look again
}

func newFlight(most int) *flight {
	return &flight{limit: newVegas(most), most: most, changed: make(chan struct{})}
}

// enter takes a place for a message and its first start, if there is one.
func (f *flight) enter() bool { ok, _ := f.try(1); return ok }

// enterWithin waits for a place.
func (f *flight) enterWithin(ctx context.Context, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return f.await(ctx, 1) == nil
}

// again takes a place for another start of a message that has one.
func (f *flight) again(ctx context.Context) error { return f.await(ctx, 0) }

func (f *flight) await(ctx context.Context, messages int) error {
	for {
		ok, changed := f.try(messages)
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *flight) try(messages int) (ok bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.messages+messages > f.most || f.inFlight >= f.limit.allowed() {
		return false, f.changed
	}
	f.messages += messages
	f.inFlight++
	return true, nil
}

// answered records the latency of a start that Temporal answered, by a new run or
// by the one that the event has already.
func (f *flight) answered(latency time.Duration) {
	f.update(func() { f.limit.answered(latency, f.inFlight, time.Now()) })
}

// refused gives up the place of a start that Temporal did not take; its message waits.
func (f *flight) refused() {
	f.update(func() {
		f.inFlight--
		f.limit.refused()
	})
}

// leave gives up the place of a message, and of its start where one is in flight.
func (f *flight) leave(starting bool) {
	f.update(func() {
		f.messages--
		if starting {
			f.inFlight--
		}
	})
}

func (f *flight) update(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// halfEmpty is true when at most half of the places are taken.
func (f *flight) halfEmpty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 2*f.inFlight <= f.limit.allowed() && 2*f.messages <= f.most
}

// count is the number of starts in flight.
func (f *flight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inFlight
}
