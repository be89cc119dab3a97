package ingest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"genesys-fanout/internal/devstack"
)

// measured registers the metrics of an Ingest in a registry.
func measured(registry *prometheus.Registry) func(*Options) {
	return func(o *Options) { o.Metrics = registry }
}

func all(changes ...func(*Options)) func(*Options) {
	return func(o *Options) {
		for _, change := range changes {
			change(o)
		}
	}
}

// metric returns the value of a metric of a partition; ok is false if there is none.
func metric(t *testing.T, registry *prometheus.Registry, name string, partition int32) (value float64, ok bool) {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, sample := range family.GetMetric() {
			for _, label := range sample.GetLabel() {
				if label.GetName() == "partition" && label.GetValue() == strconv.Itoa(int(partition)) {
					return sample.GetGauge().GetValue() + sample.GetCounter().GetValue(), true
				}
			}
		}
	}
	return 0, false
}

func skipped(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	value, ok := metric(t, registry, "fanout_messages_skipped_total", 0)
	if !ok {
		return -1
	}
	return value
}

func lag(t *testing.T, registry *prometheus.Registry, partition int32) float64 {
	t.Helper()
	value, ok := metric(t, registry, "fanout_consumer_lag", partition)
	if !ok {
		return -1
	}
	return value
}

// The group's commit is below the start of the partition.
func TestIngest_ReportsMessagesThatKafkaDroppedWhileItWasDown(t *testing.T) {
	for _, reset := range []string{"earliest", "latest"} {
		t.Run(reset, func(t *testing.T) {
			t.Parallel()
			kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
			first := run(t, kafka, server, nil)
			produce(t, kafka, 0, 0, 10)
			wait(t, func() bool { return committed(t, kafka, 0) == 10 }, "the first ten")
			first.stop()
			require.NoError(t, first.end(t))
			produce(t, kafka, 0, 10, 50)
			require.NoError(t, kafka.DeleteRecords(t.Context(), topic, 0, 30))

			registry := prometheus.NewRegistry()
			second := run(t, kafka, server, all(measured(registry), func(o *Options) { o.Reset = reset }))
			wait(t, func() bool { return committed(t, kafka, 0) == 50 }, "what is left")
			assert.EqualValues(t, 20, skipped(t, registry))
			assert.Contains(t, second.log.text(), `level=WARN msg="Kafka dropped messages before ingest read them; they are lost"`)
			assert.Contains(t, second.log.text(), "topic=events partition=0 from=30 skipped=20 committed=10")
			assert.Zero(t, server.tried(id(29)))
			assert.Equal(t, 1, server.tried(id(30)))
		})
	}
}

// librdkafka resets the position and reports that only in its log.
func TestIngest_ReportsMessagesThatKafkaDroppedWhileItRan(t *testing.T) {
	for name, left := range map[string]int{"some are left": 50, "none is left": 30} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
			release := server.block(id(9)) // takes the only slot, so nothing else is read
			defer release()
			registry := prometheus.NewRegistry()
			m := run(t, kafka, server, all(measured(registry), func(o *Options) { o.MaxStarts = 1 }))
			produce(t, kafka, 0, 0, 10)
			wait(t, func() bool { return committed(t, kafka, 0) == 9 }, "the first nine")
			produce(t, kafka, 0, 10, left)
			// librdkafka delivers a message that it has fetched, even if Kafka drops it later.
			wait(t, func() bool { return lag(t, registry, 0) == float64(left-9) }, "paused")
			require.NoError(t, kafka.DeleteRecords(t.Context(), topic, 0, 30))
			release()
			wait(t, func() bool { return committed(t, kafka, 0) == int64(left) }, "what is left")
			read := 0
			for n := range left {
				read += server.tried(id(n))
			}
			assert.EqualValues(t, left-read, skipped(t, registry), "each is read or counted")
			assert.GreaterOrEqual(t, skipped(t, registry), 15.0)
			assert.Contains(t, m.log.text(), fmt.Sprintf("from=30 skipped=%d", left-read))
			assert.Contains(t, m.log.text(), "offset reset", "librdkafka's own line")
		})
	}
}

// Transactions leave gaps in the offsets. The end of the partition is committed all the same.
func TestIngest_DoesNotCountAnAbortedTransactionAsDropped(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	registry := prometheus.NewRegistry()
	m := run(t, kafka, server, measured(registry))
	event := func(n int) devstack.Message {
		return devstack.Message{Topic: topic, Value: fmt.Appendf(nil, `{"event_id":%q}`, id(n))}
	}
	require.NoError(t, kafka.Transaction(t.Context(), kgo.TryCommit, event(0), event(1)))             // 0 1, control 2
	require.NoError(t, kafka.Transaction(t.Context(), kgo.TryAbort, event(90), event(91)))            // 3 4, control 5
	require.NoError(t, kafka.ProduceAll(t.Context(), event(2)))                                       // 6
	require.NoError(t, kafka.Transaction(t.Context(), kgo.TryAbort, event(92), event(93), event(94))) // 7 8 9, control 10
	wait(t, func() bool { return committed(t, kafka, 0) == 11 }, "the position behind the aborted transaction")
	wait(t, func() bool { return lag(t, registry, 0) == 0 }, "no lag")
	assert.Equal(t, 3, server.acceptedCount())
	assert.Zero(t, skipped(t, registry))
	assert.NotContains(t, m.log.text(), "dropped")
}

func TestIngest_DoesNotCountCompactedMessagesAsDropped(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, nil), newTemporal()
	require.NoError(t, kafka.CreateTopicWith(t.Context(), topic, 1, devstack.CompactedSettings()))
	event := func(n int, key string) {
		require.NoError(t, kafka.Produce(t.Context(), topic, 0, []byte(key), fmt.Appendf(nil, `{"event_id":%q}`, id(n))))
	}
	for n := range 10 {
		event(n, "one")
	}
	wait(t, func() bool { // a segment that is full ends with the next message
		event(10, "two")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return kafka.Compact(ctx, topic, 0) == nil
	}, "compacted")
	registry := prometheus.NewRegistry()
	m := run(t, kafka, server, measured(registry))
	event(11, "three")
	wait(t, func() bool { return server.tried(id(11)) == 1 && lag(t, registry, 0) == 0 }, "consumed")
	assert.Zero(t, server.tried(id(0)))
	assert.Zero(t, skipped(t, registry))
	assert.NotContains(t, m.log.text(), "dropped")
}

// 20 messages of the old topic were read. The new topic has 30, so that reading from the old
// position would skip its first 20.
func TestIngest_ReadsATopicThatWasCreatedAgainFromItsBeginning(t *testing.T) {
	for _, reset := range []string{"earliest", "latest"} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running %v", reset, running), func(t *testing.T) {
				t.Parallel()
				kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
				m := run(t, kafka, server, func(o *Options) { o.Reset = reset })
				wait(t, m.ready, "ready")
				produce(t, kafka, 0, 0, 20)
				wait(t, func() bool { return committed(t, kafka, 0) == 20 }, "the old one")
				if !running {
					m.stop()
					require.NoError(t, m.end(t))
				}
				require.NoError(t, kafka.DeleteTopic(t.Context(), topic))
				require.NoError(t, kafka.CreateTopic(t.Context(), topic, 1))
				produce(t, kafka, 0, 100, 130)
				if !running {
					// Kafka forgets the commits of a topic that is deleted; a broker that was
					// restored from a backup does not.
					metadata := commitMetadata(topicID{Cluster: "c", Topic: "deleted"})
					require.NoError(t, kafka.Commit(t.Context(), group, topic, 0, 20, *metadata))
					m = run(t, kafka, server, func(o *Options) { o.Reset = reset })
				}
				wait(t, func() bool { return server.acceptedCount() == 50 }, "every event of both")
				wait(t, func() bool { return committed(t, kafka, 0) == 30 }, "the new one")
				assert.Contains(t, m.log.text(), "level=ERROR")
				// A running consumer may meet the new topic while it is shorter than the old one. Then
				// librdkafka reads it from its beginning before the ids are compared.
				if running && strings.Contains(m.log.text(), "its log was cut off or the topic was created again") {
					return
				}
				assert.Contains(t, m.log.text(), "it was deleted and created again")
				assert.Contains(t, m.log.text(), "topic=events partition=0 from=0")
			})
		}
	}
}

// Nobody can read these messages again, and their commits must not move the commit of the new
// topic.
func TestIngest_StartsMessagesThatItReadFromADeletedTopic(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	var ids []string
	for n := range 20 {
		ids = append(ids, id(n))
	}
	release := server.block(ids...)
	defer release()
	m := run(t, kafka, server, func(o *Options) { o.MaxStarts = 4 })
	produce(t, kafka, 0, 0, 20)
	wait(t, func() bool { now, _ := server.openNow(); return now == 4 }, "as many as are allowed")
	require.NoError(t, kafka.DeleteTopic(t.Context(), topic))
	require.NoError(t, kafka.CreateTopic(t.Context(), topic, 1))
	produce(t, kafka, 0, 100, 110)
	wait(t, func() bool { return strings.Contains(m.log.text(), "it was deleted and created again") }, "noticed")
	release()
	wait(t, func() bool { return committed(t, kafka, 0) == 10 }, "the new one")
	for n := range 4 {
		assert.Positive(t, server.tried(id(n)), id(n))
	}
	require.Never(t, func() bool { return committed(t, kafka, 0) != 10 }, 2*commitInterval, tick)
}

func TestIngest_CountsLostMessagesOfADeletedTopicWhenItStops(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	release := server.block(id(0), id(1))
	defer release()
	m := run(t, kafka, server, func(o *Options) { o.DrainLimit = time.Second })
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { now, _ := server.openNow(); return now == 2 && server.acceptedCount() == 3 }, "all but two")
	require.NoError(t, kafka.DeleteTopic(t.Context(), topic))
	require.NoError(t, kafka.CreateTopic(t.Context(), topic, 1))
	wait(t, func() bool { return strings.Contains(m.log.text(), "it was deleted and created again") }, "noticed")
	assert.NotContains(t, m.log.text(), "are lost")
	m.stop()
	require.NoError(t, m.end(t))
	assert.Contains(t, m.log.text(), "those that Kafka no longer has are lost")
	assert.Contains(t, m.log.text(), "topic=events partition=0 messages=2")
}

// auto.offset.reset does not matter.
func TestIngest_ReadsFromTheBeginningIfTheCommitIsBeyondTheEnd(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	produce(t, kafka, 0, 0, 10)
	require.NoError(t, kafka.Commit(t.Context(), group, topic, 0, 25, ""))
	m := run(t, kafka, server, func(o *Options) { o.Reset = "latest" })
	wait(t, func() bool { return committed(t, kafka, 0) == 10 && server.acceptedCount() == 10 }, "all of it")
	assert.Contains(t, m.log.text(), "level=ERROR")
	assert.Contains(t, m.log.text(), "beyond the end of the partition")
	assert.Contains(t, m.log.text(), "committed=25 end=10")
}

// kafka-consumer-groups writes such a commit when an operator moves the group.
func TestIngest_TrustsACommitWithoutMetadata(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	produce(t, kafka, 0, 0, 10)
	require.NoError(t, kafka.Commit(t.Context(), group, topic, 0, 7, ""))
	run(t, kafka, server, nil)
	wait(t, func() bool { return committed(t, kafka, 0) == 10 }, "the rest")
	assert.Equal(t, 3, server.acceptedCount())
}

// Temporal does not answer, so nothing is committed and the partitions are paused, while
// producers write more messages.
func TestIngest_LagIsCorrectWhilePartitionsArePaused(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
	var ids []string
	for n := range 3000 {
		ids = append(ids, id(n))
	}
	release := server.block(ids...)
	defer release()
	old := time.Now().Add(-time.Hour)
	require.NoError(t, kafka.ProduceAll(t.Context(), devstack.Message{Topic: topic, Value: fmt.Appendf(nil, `{"event_id":%q}`, id(0)), Time: old}))
	produce(t, kafka, 0, 1, 1000)
	registry := prometheus.NewRegistry()
	run(t, kafka, server, all(measured(registry), func(o *Options) { o.MaxStarts = 4 }))
	wait(t, func() bool { return lag(t, registry, 0) == 1000 && lag(t, registry, 1) == 0 }, "from the assignment on")
	wait(t, func() bool { now, _ := server.openNow(); return now == 4 }, "as many as are allowed")
	age, ok := metric(t, registry, "fanout_consumer_lag_seconds", 0)
	assert.True(t, ok)
	assert.InDelta(t, time.Hour.Seconds(), age, 60)
	produce(t, kafka, 0, 1000, 2000)
	produce(t, kafka, 1, 2000, 3000)
	wait(t, func() bool { return lag(t, registry, 0) == 2000 && lag(t, registry, 1) == 1000 }, "while paused")
	wait(t, func() bool { age, _ := metric(t, registry, "fanout_consumer_lag_seconds", 1); return age > 0 }, "of what was not read yet")
	release()
	wait(t, func() bool { return lag(t, registry, 0) == 0 && lag(t, registry, 1) == 0 }, "all of it")
	age, _ = metric(t, registry, "fanout_consumer_lag_seconds", 0)
	assert.Zero(t, age)
}
