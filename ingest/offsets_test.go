package ingest

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOffsetsCommitTheContiguousPrefix holds offsets against the plainest model:
// the first message that is not done stops the prefix.
func TestOffsetsCommitTheContiguousPrefix(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var o offsets
		var all []*mark
		offset, committed := int64(random.IntN(5)), int64(-1)
		for range 100 {
			if len(all) == 0 || random.IntN(2) == 0 {
				offset += 1 + int64(random.IntN(3)) // compaction leaves gaps
				all = append(all, o.consumed(offset))
			} else if open := undone(all); len(open) > 0 {
				o.settle(open[random.IntN(len(open))])
			}
			want := int64(-1)
			for _, m := range all {
				if !m.done {
					break
				}
				want = m.offset + 1
			}
			next, ok := o.take()
			require.Equal(t, want > committed, ok, "seed %d", seed)
			if ok {
				require.Equal(t, want, next, "seed %d", seed)
				if random.IntN(4) == 0 {
					o.giveBack()
					again, ok := o.take()
					require.True(t, ok)
					require.Equal(t, next, again)
				}
				committed = next
			}
		}
	}
}

// TestOffsetsNeverRewind: a commit that failed must not become one of offset 0
// for a partition from which nothing was consumed.
func TestOffsetsNeverRewind(t *testing.T) {
	var o offsets
	o.giveBack()
	_, ok := o.take()
	assert.False(t, ok)
	o.consumed(7)
	o.giveBack()
	_, ok = o.take()
	assert.False(t, ok)
}

func undone(all []*mark) []*mark {
	var open []*mark
	for _, m := range all {
		if !m.done {
			open = append(open, m)
		}
	}
	return open
}

func TestOffsetsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o offsets
		<-o.settled() // nothing is on its way
		first, second := o.consumed(1), o.consumed(2)
		settled := o.settled()
		o.settle(second)
		select {
		case <-settled:
			assert.Fail(t, "the first is still on its way")
		default:
		}
		o.settle(first)
		<-settled
		<-o.settled()
	})
}
