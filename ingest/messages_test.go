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

// An empty value is an undecodable message, so the client must distinguish it from null.
func TestIngest_CommitsATombstoneWithoutARun(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	run(t, kafka, server, nil)
	for _, value := range [][]byte{nil, {}, nil, []byte(`{"event_id":"after"}`), nil} {
		require.NoError(t, kafka.Produce(t.Context(), topic, 0, []byte("key"), value))
	}
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "all")
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Len(t, server.accepted, 2)
	for id, in := range server.accepted {
		if id != "after" {
			require.NotNil(t, in.Undeliverable)
			assert.Equal(t, event.ReasonUndecodable, in.Undeliverable.Reason)
			assert.Contains(t, in.Undeliverable.Error, "it is empty")
		}
	}
}

// An answer that the event has a run already counts as an answer for the limiter.
func TestIngest_DuplicatesRaiseTheNumberOfStartsInFlight(t *testing.T) {
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

// Both messages have the same topic, partition and offset.
func TestIngest_UndecodableMessagesOfTwoClustersAreTwoMessages(t *testing.T) {
	t.Parallel()
	server := newTemporal()
	for i, value := range []string{"{first bad", "{second bad"} {
		kafka := startKafka(t, map[string]int32{topic: 1})
		run(t, kafka, server, nil)
		require.NoError(t, kafka.Produce(t.Context(), topic, 0, nil, []byte(value)))
		wait(t, func() bool { return committed(t, kafka, 0) == 1 }, value)
		assert.Equal(t, i+1, server.acceptedCount())
	}
}
