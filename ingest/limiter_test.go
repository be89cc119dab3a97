package ingest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"genesys-fanout/fanout"
)

// slots returns how many slots of a limiter are in use.
func (l *limiter) slots() (messages, starts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.messages, l.starts
}

func TestLimiter_ASlotIsGivenBackHoweverAStartEnds(t *testing.T) {
	accept := func(context.Context, fanout.Input) (bool, error) { return true, nil }
	tombstone := message("")
	tombstone.Value = nil
	for name, test := range map[string]struct {
		message *kafka.Message
		server  starterFunc
		cancel  bool // ends the context of the start
		want    bool // the offset may be committed
	}{
		"accepted":  {message(voice), accept, false, true},
		"duplicate": {message(voice), func(context.Context, fanout.Input) (bool, error) { return false, nil }, false, true},
		"accepted at the second try": {message(voice), func() starterFunc {
			tries := 0
			return func(context.Context, fanout.Input) (bool, error) {
				if tries++; tries == 1 {
					return false, serviceerror.NewUnavailable("away")
				}
				return true, nil
			}
		}(), false, true},
		"tombstone": {tombstone, accept, false, true},
		"unmatched": {message(`{"event_id":"evt-1"}`), accept, false, true},
		"canceled while the message waits for its next try": {message(voice), func(context.Context, fanout.Input) (bool, error) {
			return false, serviceerror.NewUnavailable("away")
		}, true, false},
		"canceled while the start is in flight": {message(voice), func(ctx context.Context, _ fanout.Input) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				starter := newTestStarter(t, test.server)
				s := &session{ingest: &Ingest{limiter: newLimiter(4), starter: starter.messageStarter}}
				p := &partition{offsets: newOffsets(42, true)}
				m := waitingMessage{test.message, p, p.offsets.addMessage(42, time.Time{})}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()

				require.True(t, s.tryStart(t.Context(), ctx, m, 0))
				if test.cancel { // otherwise the start may have ended already
					synctest.Wait()
					messages, _ := s.ingest.limiter.slots()
					assert.Equal(t, 1, messages, "the message waits")
					cancel()
				} else {
					<-p.offsets.idle()
				}
				synctest.Wait()
				messages, starts := s.ingest.limiter.slots()
				assert.Zero(t, messages)
				assert.Zero(t, starts)
				next, ok := p.offsets.beginCommit()
				assert.Equal(t, test.want, ok)
				assert.Equal(t, test.want, next == 43)
			})
		})
	}
}

// A message that waits for its next try keeps its message slot, and its start slot is free
// for other messages.
func TestLimiter_AMessageThatWaitsKeepsOnlyItsMessageSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2)
		first, ok := l.acquire(t.Context(), 0)
		require.True(t, ok)
		second, ok := l.acquire(t.Context(), 0)
		require.True(t, ok)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- first.backOff(ctx, time.Hour) }()
		synctest.Wait()
		messages, starts := l.slots()
		assert.Equal(t, 2, messages)
		assert.Equal(t, 1, starts)
		_, ok = l.acquire(t.Context(), time.Second)
		assert.False(t, ok, "both messages have a slot")
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		first.release()
		second.release()
		messages, starts = l.slots()
		assert.Zero(t, messages)
		assert.Zero(t, starts)
	})
}
