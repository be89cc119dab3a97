package ingest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// TestIngest_ANullValueIsNoEvent, and an empty one is an undecodable message: the
// client must tell them apart.
func TestIngest_ANullValueIsNoEvent(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	run(t, kafka, server, nil)
	for _, value := range [][]byte{nil, {}, nil, []byte(`{"event_id":"after"}`), nil} {
		require.NoError(t, kafka.Produce(t.Context(), topic, 0, []byte("key"), value))
	}
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "all")
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Len(t, server.held, 2)
	for id, in := range server.held {
		if id != "after" {
			require.NotNil(t, in.Undeliverable)
			assert.Equal(t, event.ReasonUndecodable, in.Undeliverable.Reason)
			assert.Contains(t, in.Undeliverable.Error, "it is empty")
		}
	}
}

// TestIngest_ARewindStartsMoreThanTheFewest at a time: a server that finds each event's
// run there answers as one that starts it.
func TestIngest_ARewindStartsMoreThanTheFewest(t *testing.T) {
	t.Parallel()
	const duplicates, latency = 1000, 10 * time.Millisecond
	kafka := startKafka(t, map[string]int32{topic: 1})
	produce(t, kafka, 0, 0, duplicates)
	var open, most atomic.Int64
	run(t, kafka, starterFunc(func(context.Context, fanout.Input) (bool, error) {
		now := open.Add(1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); {
			seen = most.Load()
		}
		defer open.Add(-1)
		<-time.After(latency)
		return false, nil
	}), nil)
	wait(t, func() bool { return committed(t, kafka, 0) == duplicates }, "all are answered")
	assert.Greater(t, most.Load(), int64(4*minStarts))
}

// TestIngest_PositionsOfTwoClustersHoldTwoMessages: what Temporal has of the one is not
// taken for the other.
func TestIngest_PositionsOfTwoClustersHoldTwoMessages(t *testing.T) {
	t.Parallel()
	server := newTemporal()
	for i, value := range []string{"{first bad", "{second bad"} {
		kafka := startKafka(t, map[string]int32{topic: 1})
		run(t, kafka, server, nil)
		require.NoError(t, kafka.Produce(t.Context(), topic, 0, nil, []byte(value)))
		wait(t, func() bool { return committed(t, kafka, 0) == 1 }, value)
		assert.Equal(t, i+1, server.holds())
	}
}
