package ingest

import (
	"context"
	"sync"
	"time"
)

// limiter bounds the work on its way to Temporal in two ways. vegas bounds the starts that
// are in flight at one moment. maxMessages bounds the messages that Temporal has not
// accepted yet; these include the messages whose start was rejected and that wait for the
// next try.
type limiter struct {
	mu          sync.Mutex
	vegas       *vegas
	maxMessages int
	messages    int           // messages with a permit
	starts      int           // starts in flight
	changed     chan struct{} // closed and replaced whenever a waiter should look again
}

func newLimiter(maxStarts int) *limiter {
	return &limiter{vegas: newVegas(maxStarts), maxMessages: maxStarts, changed: make(chan struct{})}
}

// permit is the slot of one message, and of its start while that is in flight. It is used
// by one goroutine at a time, which must release it.
type permit struct {
	limiter  *limiter
	inFlight bool // it includes a start slot
}

// acquire returns a permit for a message and its first start. It waits for a free slot, and
// returns false if none is free within the wait or before ctx ends.
func (l *limiter) acquire(ctx context.Context, wait time.Duration) (*permit, bool) {
	if ok, _ := l.tryAcquire(1); !ok {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if l.waitAndAcquire(ctx, 1) != nil {
			return nil, false
		}
	}
	return &permit{limiter: l, inFlight: true}, true
}

// release gives back every slot that the permit includes.
func (p *permit) release() {
	p.limiter.update(func(l *limiter) {
		l.messages--
		if p.inFlight {
			l.starts--
		}
	})
}

// answered records the latency of a start that Temporal answered, with a new run or with
// the one that the event has already.
func (p *permit) answered(latency time.Duration) {
	p.limiter.update(func(l *limiter) { l.vegas.recordLatency(latency, l.starts, time.Now()) })
}

// backOff records that Temporal rejected the start, and waits before the next one. While it
// waits, the start slot is free for other messages; the message keeps its own slot. After
// an error, which is that of ctx, the permit has no start slot.
func (p *permit) backOff(ctx context.Context, wait time.Duration) error {
	p.limiter.update(func(l *limiter) {
		l.starts--
		l.vegas.recordRejection()
	})
	p.inFlight = false
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	if err := p.limiter.waitAndAcquire(ctx, 0); err != nil {
		return err
	}
	p.inFlight = true
	return nil
}

// waitAndAcquire waits for a start slot and for the given number of message slots. The error is
// that of ctx.
func (l *limiter) waitAndAcquire(ctx context.Context, messages int) error {
	for {
		ok, changed := l.tryAcquire(messages)
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

// tryAcquire does not wait. If no slot is free, changed is closed when the caller should
// try again.
func (l *limiter) tryAcquire(messages int) (ok bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages+messages > l.maxMessages || l.starts >= l.vegas.allowed() {
		return false, l.changed
	}
	l.messages += messages
	l.starts++
	return true, nil
}

func (l *limiter) update(change func(*limiter)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	close(l.changed)
	l.changed = make(chan struct{})
}

// halfEmpty reports whether at most half of the slots are in use.
func (l *limiter) halfEmpty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 2*l.starts <= l.vegas.allowed() && 2*l.messages <= l.maxMessages
}

// startsInFlight returns the number of starts that Temporal has not answered yet.
func (l *limiter) startsInFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starts
}
