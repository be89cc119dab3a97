package ingest

import (
	"sync"
	"time"
)

// offsets finds what may be committed of one partition: the contiguous prefix of
// the messages read from it that Temporal holds. It counts messages, not
// numbers, because compaction and transactions leave gaps. From the same marks it
// measures how far behind the prefix is.
type offsets struct {
	mu       sync.Mutex
	pending  []*mark // read and not yet part of the prefix, in order
	next     int64   // the offset to commit
	first    bool    // next is where the partition is read from, and not committed
	advanced bool    // next is to be committed
	starting int     // marks whose start is in flight
	idle     chan struct{}

	end    int64     // of the partition, as far as is known
	unread time.Time // since when Kafka has messages while none is pending
}

// mark is one message that was read.
type mark struct {
	offset int64
	at     time.Time // when it was written, or else when it was read
	done   bool
}

// newOffsets begins with the offset that is read first. If the group has it
// committed, there is nothing to commit yet. Otherwise it is committed as soon as
// Kafka gives something, so that the next member begins there, whatever
// auto.offset.reset says by then.
func newOffsets(next int64, committed bool) *offsets {
	return &offsets{next: next, first: !committed}
}

// read marks a message that Kafka gave, in the order in which it gives them.
func (o *offsets) read(offset int64, at time.Time) *mark {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := &mark{offset: offset, at: at}
	o.pending = append(o.pending, m)
	o.end = max(o.end, offset+1)
	o.unread = time.Time{}
	o.advance()
	return m
}

// reached notes that every message below position was given. It moves the prefix
// past what is never given: control records and aborted transactions.
func (o *offsets) reached(position int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if position > o.position() {
		o.pending = append(o.pending, &mark{offset: position - 1, done: true})
		o.end = max(o.end, position)
	}
	o.advance()
}

// position is the offset after what was read or reached. The caller holds o.mu.
func (o *offsets) position() int64 {
	if n := len(o.pending); n > 0 {
		return o.pending[n-1].offset + 1
	}
	return o.next
}

// begin notes that the start of a marked message is in flight.
func (o *offsets) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.starting++
}

// settle notes that Temporal holds the message of a start in flight.
func (o *offsets) settle(m *mark) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.done = true
	o.starting--
	o.advance()
	if o.starting == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// advance moves the prefix over the marks that are done. The caller holds o.mu.
func (o *offsets) advance() {
	o.advanced = o.advanced || o.first
	o.first = false
	for len(o.pending) > 0 && o.pending[0].done {
		o.next = o.pending[0].offset + 1
		o.advanced = true
		o.pending = o.pending[1:]
	}
}

// settled is closed when no start is in flight.
func (o *offsets) settled() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.starting == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	return o.idle
}

// unsettled is how many of the messages that were read Temporal does not hold.
func (o *offsets) unsettled() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, m := range o.pending {
		if !m.done {
			n++
		}
	}
	return n
}

// take returns the offset to commit, if it is a new one.
func (o *offsets) take() (offset int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ok = o.advanced
	o.advanced = false
	return o.next, ok
}

// giveBack notes that what take returned was not committed after all.
func (o *offsets) giveBack() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advanced = true
}

// ends notes the end of the partition, as the brokers gave it. It may be lower than
// before, because a log that was cut off ends earlier; but what was read since the
// brokers were asked is there.
func (o *offsets) ends(end int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = max(o.position(), end)
	switch {
	case len(o.pending) > 0 || o.end <= o.next:
		o.unread = time.Time{}
	case o.unread.IsZero():
		o.unread = now
	}
}

// lag is how many messages are not committed, and the age of the oldest of them.
// The age of a message that was not read yet is not known: it counts from when its
// partition was first seen to hold it.
func (o *offsets) lag(now time.Time) (messages int64, age time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages = max(o.end-o.next, 0)
	var since time.Time
	switch {
	case messages == 0:
		return 0, 0
	case len(o.pending) > 0:
		since = o.pending[0].at
	default:
		since = o.unread
	}
	if since.IsZero() {
		return messages, 0
	}
	return messages, max(now.Sub(since), 0)
}
