package ingest

import (
	"math"
	"time"
)

// The number of starts in flight follows TCP Vegas (Brakmo and Peterson, 1995). A start
// that takes longer than a start on an idle server has waited in a queue there, and
// limit × (1 − idle/now) is the length of that queue. With alpha to beta queued starts the
// server always has the next one at hand. More of them only make every event later and, if
// server and ingest share a machine, everything slower: on two cores with the dev server
// 240 events/s were measured with 4 starts in flight, 180 with 64 and 140 with 256.
//
// As in BBR (Cardwell et al., 2016), the latency of an idle server is measured again at
// intervals by going down to few starts in flight. That latency changes with the server,
// and under steady load it would otherwise never be seen again.
const (
	alpha, beta = 3, 6 // queued starts; Vegas counts packets in the same range

	// minStarts are always allowed, unless the server rejects starts because it is busy.
	minStarts = 4

	// minWindow is the fewest answers that a decision rests on.
	minWindow = 16

	// idleInterval is the time between two measurements of an idle server's latency. A
	// window of 16 answers by 4 at a time takes 4 latencies, which is 40 ms at 10 ms each:
	// under 1 % of the time.
	idleInterval = 15 * time.Second
)

// vegas computes how many starts may be in flight. It is not safe for concurrent use.
type vegas struct {
	max   float64 // upper bound of limit
	limit float64

	idle          time.Duration // latency of a start on an idle server; 0: not known yet
	idleMeasured  time.Time     // when idle was measured
	measuringIdle bool          // the current window measures idle
	doubling      bool          // the limit doubles, until the first queue is seen

	// The current window.
	answers   int
	total     time.Duration // of the latencies
	saturated bool          // as many starts as allowed were in flight
	rejected  bool          // the server rejected a start
}

func newVegas(maxStarts int) *vegas {
	v := &vegas{max: float64(maxStarts), doubling: true, measuringIdle: true}
	v.setLimit(minStarts)
	return v
}

// allowed returns how many starts may be in flight now.
func (v *vegas) allowed() int {
	if v.measuringIdle {
		return int(min(v.limit, minStarts))
	}
	return int(v.limit)
}

// recordLatency records the latency of a start that Temporal answered. inFlight is the
// number of starts in flight, including this one. "The event has a run already" is an
// answer too: a consumer group that was rewound gets no other answer for hours.
func (v *vegas) recordLatency(latency time.Duration, inFlight int, now time.Time) {
	v.answers++
	v.total += latency
	v.saturated = v.saturated || inFlight >= v.allowed()
	if v.answers >= max(minWindow, v.allowed()) {
		v.endWindow(now)
	}
}

// recordRejection halves the limit because the server is too busy to accept a start. It
// does so once in a window, because the starts that were in flight at the same time are
// rejected for the same reason.
func (v *vegas) recordRejection() {
	if v.rejected {
		return
	}
	v.rejected = true
	v.doubling = false
	v.limit = max(1, math.Floor(v.limit/2))
}

// endWindow adjusts the limit to the latencies of the window and begins another window.
func (v *vegas) endWindow(now time.Time) {
	latency := v.total / time.Duration(v.answers)
	switch {
	case v.measuringIdle:
		v.idle, v.idleMeasured, v.measuringIdle = latency, now, false
	case v.rejected:
	default:
		v.idle = min(v.idle, latency)
		v.adjust(v.limit * (1 - float64(v.idle)/float64(latency)))
		v.measuringIdle = now.Sub(v.idleMeasured) >= idleInterval
	}
	v.answers, v.total, v.saturated, v.rejected = 0, 0, false, false
}

// adjust moves the limit so that between alpha and beta starts are queued in the server.
func (v *vegas) adjust(queued float64) {
	switch {
	case queued > beta:
		v.doubling = false
		v.setLimit(v.limit - math.Ceil((queued-beta)/2))
	case queued >= alpha:
		v.doubling = false
	case !v.saturated: // fewer messages than the limit allows: nothing is known about a higher one
	case v.doubling:
		v.setLimit(2 * v.limit)
	default:
		v.setLimit(v.limit + 1)
	}
}

func (v *vegas) setLimit(limit float64) { v.limit = min(max(limit, minStarts), v.max) }
