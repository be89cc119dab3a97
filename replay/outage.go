package replay

import (
	"fmt"
	"sync"
	"time"
)

const (
	retryInterval  = time.Second      // between two tries while something is away
	remindInterval = 30 * time.Second // between two lines about that
)

// outage notifies once for all who wait for the same thing.
type outage struct {
	of     string // what is away
	notify func(line string)

	mu      sync.Mutex
	waiting int
	since   time.Time
	said    time.Time // when the last line said so
}

// goesOn notes one who waits for the first time, or still.
func (o *outage) goesOn(what string, err error, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if first {
		if o.waiting == 0 {
			o.since, o.said = now, time.Time{}
		}
		o.waiting++
	}
	if now.Sub(o.said) >= remindInterval {
		o.said = now
		o.notify(fmt.Sprintf("waiting for %s %s, for %s: %v", o.of, what, now.Sub(o.since).Round(time.Second), err))
	}
}

// over notes one who waits no more.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting--; o.waiting == 0 {
		o.notify(fmt.Sprintf("%s answers again, after %s", o.of, time.Since(o.since).Round(time.Second)))
	}
}

// waiter is one who waits for what an outage is about.
type waiter struct {
	outage  *outage
	waiting bool
}

// failed notes an answer that says that what is awaited is away.
func (w *waiter) failed(what string, err error) {
	w.outage.goesOn(what, err, !w.waiting)
	w.waiting = true
}

// answered notes the end of the wait, if there was one.
func (w *waiter) answered() {
	if w.waiting {
		w.outage.over()
		w.waiting = false
	}
}
