package ingest

import (
	"sync"
	"time"
)

// occasional limits a line of the log to one in remindInterval. The zero value is
// ready for use.
type occasional struct {
	mu     sync.Mutex
	times  int // since the last line
	logged time.Time
}

// happened counts an occurrence. If a line is due, it also returns how many
// occurrences the line stands for.
func (o *occasional) happened() (times int, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.times++
	now := time.Now()
	if now.Sub(o.logged) < remindInterval {
		return 0, false
	}
	times, o.times, o.logged = o.times, 0, now
	return times, true
}

// refusals reports, once for all messages that wait, that Temporal refuses some.
// It counts messages, so that the success of others does not hide one that is
// refused for ever.
type refusals struct {
	mu      sync.Mutex
	waiting int
	since   time.Time
	logged  time.Time
}

// report counts a refused start, the first of its message or another.
func (r *refusals) report(o Options, err error, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if first {
		if r.waiting == 0 {
			r.since, r.logged = now, time.Time{}
		}
		r.waiting++
	}
	o.Health.Set(CheckStarts, err)
	if now.Sub(r.logged) >= remindInterval {
		r.logged = now
		o.Log.Warn("waiting for Temporal to accept runs; nothing is committed before", "starts", r.waiting, "for", now.Sub(r.since).Round(time.Second), "error", err)
	}
}

// leave counts off a message that was refused and waits no more, because Temporal
// accepted it or because the session has ended. The end of a session says nothing of
// Temporal, but the messages may be another member's then.
func (r *refusals) leave(o Options, accepted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	if r.waiting > 0 {
		return
	}
	if accepted {
		o.Log.Info("Temporal accepts runs again", "after", time.Since(r.since).Round(time.Second))
	}
	o.Health.Set(CheckStarts, nil)
}
