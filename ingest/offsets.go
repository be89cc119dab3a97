package ingest

import "sync"

// offsets finds what may be committed of one assigned partition: the contiguous
// prefix of the messages consumed from it that Temporal holds. It counts
// messages, not numbers, since compaction and transactions leave gaps.
type offsets struct {
	mu        sync.Mutex
	pending   []*mark // consumed and not yet part of the prefix, in order
	next      int64   // to commit; 0 while nothing may be
	advanced  bool    // next has moved since the last commit
	unsettled int     // marks that are not done
	idle      chan struct{}
}

// mark is one consumed message.
type mark struct {
	offset int64
	done   bool
}

// consumed takes note of a message, in the order of consumption.
func (o *offsets) consumed(offset int64) *mark {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := &mark{offset: offset}
	o.pending = append(o.pending, m)
	o.unsettled++
	return m
}

// settle says that Temporal holds the message.
func (o *offsets) settle(m *mark) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.done = true
	o.unsettled--
	for len(o.pending) > 0 && o.pending[0].done {
		o.next = o.pending[0].offset + 1
		o.advanced = true
		o.pending = o.pending[1:]
	}
	if o.unsettled == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// settled is closed when no message is on its way any more.
func (o *offsets) settled() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle == nil {
		o.idle = make(chan struct{})
		if o.unsettled == 0 {
			close(o.idle)
			done := o.idle
			o.idle = nil
			return done
		}
	}
	return o.idle
}

// take is the offset to commit, if there is a new one.
func (o *offsets) take() (offset int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ok = o.advanced
	o.advanced = false
	return o.next, ok
}

// giveBack says that what take returned was not committed after all. Where there
// was nothing to commit there still is not: offset 0 would rewind the partition.
func (o *offsets) giveBack() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advanced = o.next > 0
}
