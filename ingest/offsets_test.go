package ingest

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The model: the first message that is not accepted ends the prefix, and offsets that were
// skipped below a recorded position do not.
func TestOffsets_CommitTheContiguousPrefix(t *testing.T) {
	type step struct {
		message *pendingMessage // nil: a recorded position
		next    int64
	}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		position := int64(random.IntN(5))
		o := newOffsets(position, true)
		committed := position
		var all []step
		var open []*pendingMessage
		for range 100 {
			switch random.IntN(4) {
			case 0, 1:
				offset := position + int64(random.IntN(3)) // compaction leaves gaps
				m := o.addMessage(offset, time.Time{})
				o.beginStart()
				position = offset + 1
				all, open = append(all, step{m, position}), append(open, m)
			case 2:
				if len(open) > 0 {
					i := random.IntN(len(open))
					o.completeStart(open[i])
					open = append(open[:i], open[i+1:]...)
				}
			case 3:
				position += int64(random.IntN(3)) // an aborted transaction
				o.recordPosition(position)
				all = append(all, step{nil, position})
			}
			want := committed
			for _, s := range all {
				if s.message != nil && !s.message.accepted {
					break
				}
				want = max(want, s.next)
			}
			next, ok := o.beginCommit()
			require.Equal(t, want, next, "seed %d", seed)
			require.Equal(t, want > committed, ok, "seed %d", seed)
			if ok && random.IntN(4) == 0 {
				o.commitFailed()
				again, ok := o.beginCommit()
				require.True(t, ok)
				require.Equal(t, next, again)
			}
			committed = next
		}
	}
}

// Nothing is committed of a partition from which nothing was read, and a message that waits
// holds up every commit above it.
func TestOffsets_NeverMoveBack(t *testing.T) {
	o := newOffsets(7, true)
	_, ok := o.beginCommit()
	assert.False(t, ok)
	o.addMessage(7, time.Time{})
	o.recordPosition(9)
	_, ok = o.beginCommit()
	assert.False(t, ok, "7 is not started yet")
	o.recordPosition(5)
	_, ok = o.beginCommit()
	assert.False(t, ok)
}

// So the next member does not use auto.offset.reset again.
func TestOffsets_CommitTheFirstPositionOfANewGroup(t *testing.T) {
	for name, give := range map[string]func(*offsets){
		"a message": func(o *offsets) { o.addMessage(9, time.Time{}) },
		"the end":   func(o *offsets) { o.recordPosition(7) },
	} {
		o := newOffsets(7, false)
		_, ok := o.beginCommit()
		assert.False(t, ok, "a partition that may not be read")
		give(o)
		next, ok := o.beginCommit()
		assert.True(t, ok, name)
		assert.EqualValues(t, 7, next)
		give(o)
		_, ok = o.beginCommit()
		assert.False(t, ok, name)
	}
}

func TestOffsets_AreIdleIfNoStartIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffsets(0, true)
		<-o.idle() // nothing is in flight
		o.addMessage(0, time.Time{})
		<-o.idle() // a message that waits is not in flight
		first, second := o.addMessage(1, time.Time{}), o.addMessage(2, time.Time{})
		o.beginStart()
		o.beginStart()
		settled := o.idle()
		o.completeStart(second)
		select {
		case <-settled:
			assert.Fail(t, "the first is still in flight")
		default:
		}
		o.completeStart(first)
		<-settled
		<-o.idle()
	})
}

// The lag counts from the offset that would be committed. Its age is that of the oldest
// message that is not committed.
func TestOffsets_Lag(t *testing.T) {
	now := time.Now()
	lag := func(o *offsets, after time.Duration) (int64, time.Duration) { return o.lag(now.Add(after)) }
	o := newOffsets(10, true)
	messages, age := lag(o, 0)
	assert.Zero(t, messages)
	assert.Zero(t, age)

	o.recordEnd(15, now)
	messages, age = lag(o, 3*time.Second)
	assert.EqualValues(t, 5, messages)
	assert.Equal(t, 3*time.Second, age, "nothing of it was read, so the age counts from the first report")
	o.recordEnd(20, now.Add(time.Second))
	_, age = lag(o, 3*time.Second)
	assert.Equal(t, 3*time.Second, age)

	first, second := o.addMessage(10, now.Add(-time.Minute)), o.addMessage(12, now)
	o.beginStart()
	o.beginStart()
	messages, age = lag(o, 0)
	assert.EqualValues(t, 10, messages)
	assert.Equal(t, time.Minute, age)
	o.completeStart(first)
	messages, age = lag(o, time.Second)
	assert.EqualValues(t, 9, messages)
	assert.Equal(t, time.Second, age)
	o.completeStart(second)
	messages, _ = lag(o, 0)
	assert.EqualValues(t, 7, messages)
	o.recordPosition(20)
	messages, age = lag(o, time.Hour)
	assert.Zero(t, messages, "an aborted transaction was behind it")
	assert.Zero(t, age)

	o.addMessage(20, now.Add(time.Hour))
	messages, age = lag(o, 0)
	assert.EqualValues(t, 1, messages, "before the brokers were asked again")
	assert.Zero(t, age, "the producer's clock is ahead")
}

// The end is lower than before, but not lower than the messages that were read since the
// brokers were asked.
func TestOffsets_LagOfALogThatWasCutOff(t *testing.T) {
	now := time.Now()
	o := newOffsets(10, true)
	o.recordEnd(100, now)
	o.recordEnd(40, now)
	messages, _ := o.lag(now)
	assert.EqualValues(t, 30, messages)

	m := o.addMessage(50, now)
	o.beginStart()
	o.recordEnd(40, now)
	messages, _ = o.lag(now)
	assert.EqualValues(t, 41, messages)
	o.completeStart(m)
	o.recordEnd(40, now)
	messages, age := o.lag(now)
	assert.Zero(t, messages)
	assert.Zero(t, age)
}
