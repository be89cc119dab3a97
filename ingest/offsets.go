package ingest

import (
	"sync"
	"time"
)

// offsets computes the offset of one partition that may be committed: the end of the
// contiguous prefix of messages that Temporal has accepted. The prefix follows the messages, and
// not offset+1, because compaction and transactions leave gaps. It also measures the lag of that
// prefix. It is safe for concurrent use.
type offsets struct {
	mu      sync.Mutex
	pending []*pendingMessage // read and not yet part of the prefix, in order
	next    int64             // the offset to commit
	// uncommittedStart: next is where reading began, the group has not committed it, and Kafka
	// has returned nothing yet.
	uncommittedStart bool
	changed          bool          // next is not committed yet
	starts           int           // in flight
	idleCh           chan struct{} // closed when starts becomes 0; nil: nobody waits

	end         int64     // of the partition, as far as it is known
	unreadSince time.Time // since when Kafka has messages although none is pending
}

// pendingMessage is one message that was read.
type pendingMessage struct {
	offset   int64
	time     time.Time // when it was written; if that is unknown, when it was read
	accepted bool      // by Temporal
}

// newOffsets returns the offsets of a partition that is read from next on. If the group has
// committed next, there is nothing to commit yet. Otherwise next is committed as soon as
// Kafka returns something, so that the next member begins there, whatever auto.offset.reset
// is by then.
func newOffsets(next int64, committed bool) *offsets {
	return &offsets{next: next, uncommittedStart: !committed}
}

// addMessage adds a message that Kafka returned. Messages are added in Kafka's order.
func (o *offsets) addMessage(offset int64, written time.Time) *pendingMessage {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := &pendingMessage{offset: offset, time: written}
	o.pending = append(o.pending, m)
	o.end = max(o.end, offset+1)
	o.unreadSince = time.Time{}
	o.advance()
	return m
}

// recordPosition records that Kafka has returned every message below a position. So the
// prefix moves past what Kafka never returns: control records and aborted transactions.
func (o *offsets) recordPosition(position int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if position > o.position() {
		o.pending = append(o.pending, &pendingMessage{offset: position - 1, accepted: true})
		o.end = max(o.end, position)
	}
	o.advance()
}

// position returns the offset after the last one that was recorded. The caller holds o.mu.
func (o *offsets) position() int64 {
	if n := len(o.pending); n > 0 {
		return o.pending[n-1].offset + 1
	}
	return o.next
}

// beginStart records that the start of a message is in flight.
func (o *offsets) beginStart() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.starts++
}

// completeStart records that Temporal has accepted the message of a start in flight.
func (o *offsets) completeStart(m *pendingMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.accepted = true
	o.starts--
	o.advance()
	if o.starts == 0 && o.idleCh != nil {
		close(o.idleCh)
		o.idleCh = nil
	}
}

// advance moves the prefix over the messages that Temporal has accepted. The caller holds
// o.mu.
func (o *offsets) advance() {
	o.changed = o.changed || o.uncommittedStart
	o.uncommittedStart = false
	for len(o.pending) > 0 && o.pending[0].accepted {
		o.next = o.pending[0].offset + 1
		o.changed = true
		o.pending = o.pending[1:]
	}
}

// idle returns a channel that is closed when no start is in flight.
func (o *offsets) idle() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.starts == 0 {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	if o.idleCh == nil {
		o.idleCh = make(chan struct{})
	}
	return o.idleCh
}

// notAccepted returns how many of the messages that were read Temporal has not accepted.
func (o *offsets) notAccepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, m := range o.pending {
		if !m.accepted {
			n++
		}
	}
	return n
}

// beginCommit returns the offset to commit. ok is false if that offset is committed already.
func (o *offsets) beginCommit() (offset int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ok = o.changed
	o.changed = false
	return o.next, ok
}

// commitFailed records that the offset of the last beginCommit was not committed.
func (o *offsets) commitFailed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed = true
}

// recordEnd records the end of the partition that the brokers reported. It may be lower than
// before, because a log that was cut off ends earlier. It is never below the messages that
// were read, because these may have been written after the brokers were asked.
func (o *offsets) recordEnd(end int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = max(o.position(), end)
	switch {
	case len(o.pending) > 0 || o.end <= o.next:
		o.unreadSince = time.Time{}
	case o.unreadSince.IsZero():
		o.unreadSince = now
	}
}

// lag returns how many messages are not committed, and the age of the oldest of them. The
// age of a message that was not read yet is unknown, so it counts from when the brokers
// first reported such a message.
func (o *offsets) lag(now time.Time) (messages int64, age time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages = max(o.end-o.next, 0)
	var since time.Time
	switch {
	case messages == 0:
		return 0, 0
	case len(o.pending) > 0:
		since = o.pending[0].time
	default:
		since = o.unreadSince
	}
	if since.IsZero() {
		return messages, 0
	}
	return messages, max(now.Sub(since), 0)
}
