// Package outage reports a condition that lasts: once when it begins, every 30 s while it
// lasts, and once when it is over. So a service that does not answer for an hour fills no log,
// and an operator still reads in each log when the outage began and that it has ended.
//
// The package does not write to a log: its caller logs or prints each report in its own words.
package outage

import (
	"sync"
	"time"
)

// Interval is the time between two reports of the same outage.
const Interval = 30 * time.Second

// Report describes an outage.
type Report struct {
	Age     time.Duration // since it began, in whole seconds
	Waiting int           // how many waiters it has; 1 if Observe reported it
	Cause   string        // of the last ObserveCause that found the condition
	Err     error         // what failed last; at the end nil, or why the last Waiter gave up
}

// Outage is one condition, such as "Temporal does not answer". It is safe for concurrent
// use. Several goroutines that wait for the same thing share one Outage, each with a Waiter
// of its own.
type Outage struct {
	ongoing func(Report)
	over    func(Report)

	// Delay is how long the condition may last before its first report. An outage that was
	// never reported ends without a report. Set it before the first use.
	Delay time.Duration

	mu       sync.Mutex
	observed bool // the condition that Observe saw lasts
	waiters  int
	since    time.Time // zero: there is no outage
	reported time.Time // zero: this outage was not reported yet
	cause    string    // the key of the last report, for ObserveCause
	last     error
}

// New returns an Outage that has not begun. It calls ongoing for the beginning and every
// Interval, and over for the end. Both are called one at a time and must return soon; over may be
// nil.
func New(ongoing, over func(Report)) *Outage {
	if over == nil {
		over = func(Report) {}
	}
	return &Outage{ongoing: ongoing, over: over}
}

// Observe records whether the condition lasts: an error means that it does, nil means
// that it is over.
func (o *Outage) Observe(err error) { o.ObserveCause("", err) }

// ObserveCause does the same, and reports at once if the cause is another than that of the
// last report. So a second topic that disappears is not reported 30 s late.
func (o *Outage) ObserveCause(cause string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.observed = err != nil
	if err == nil {
		o.end(nil)
		return
	}
	if cause != o.cause {
		o.cause, o.reported = cause, time.Time{}
	}
	o.report(err)
}

// report counts the condition as ongoing and reports it if a report is due. The caller holds
// o.mu.
func (o *Outage) report(err error) {
	now := time.Now()
	o.last = err
	if o.since.IsZero() {
		o.since = now
	}
	due := o.reported.IsZero() && now.Sub(o.since) >= o.Delay || !o.reported.IsZero() && now.Sub(o.reported) >= Interval
	if due {
		o.reported = now
		o.ongoing(o.state(now))
	}
}

// end ends the outage if nobody observes it any more. The caller holds o.mu.
func (o *Outage) end(err error) {
	if o.since.IsZero() || o.observed || o.waiters > 0 {
		return
	}
	if !o.reported.IsZero() {
		o.last = err
		o.over(o.state(time.Now()))
	}
	o.since, o.reported, o.cause, o.last = time.Time{}, time.Time{}, "", nil
}

func (o *Outage) state(now time.Time) Report {
	waiting := o.waiters
	if o.observed {
		waiting++
	}
	return Report{Age: now.Sub(o.since).Round(time.Second), Waiting: waiting, Cause: o.cause, Err: o.last}
}

// Waiter is one of several that wait for the same outage to end. The outage begins when the
// first of them fails and ends when the last one is done. A Waiter is used by one goroutine.
type Waiter struct {
	outage  *Outage
	waiting bool
}

// Waiter returns a waiter that has not failed yet.
func (o *Outage) Waiter() *Waiter { return &Waiter{outage: o} }

// Failed records that another try of this waiter failed.
func (w *Waiter) Failed(err error) {
	w.outage.mu.Lock()
	defer w.outage.mu.Unlock()
	if !w.waiting {
		w.waiting = true
		w.outage.waiters++
	}
	w.outage.report(err)
}

// Waiting reports whether the waiter has failed and is not done.
func (w *Waiter) Waiting() bool { return w.waiting }

// Done ends the wait of this waiter, if it has begun. err is nil if a try succeeded, and
// otherwise why the waiter gave up.
func (w *Waiter) Done(err error) {
	if !w.waiting {
		return
	}
	w.waiting = false
	w.outage.mu.Lock()
	defer w.outage.mu.Unlock()
	w.outage.waiters--
	w.outage.end(err)
}
