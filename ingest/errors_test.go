package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/internal/devstack"
)

// errorsOf is how often an error of a code was counted.
func errorsOf(t *testing.T, registry *prometheus.Registry, code kafka.ErrorCode) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != "fanout_kafka_errors_total" {
			continue
		}
		for _, sample := range family.GetMetric() {
			if sample.GetLabel()[0].GetValue() == code.String() {
				return sample.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestIngest_IsNotReadyWhileAPartitionIsStalled for a batch that cannot be read:
// the other partition is consumed, and the error is logged once and counted.
func TestIngest_IsNotReadyWhileAPartitionIsStalled(t *testing.T) {
	for _, codec := range []devstack.Codec{devstack.Gzip, devstack.Zstd} {
		t.Run(fmt.Sprint(codec), func(t *testing.T) {
			t.Parallel()
			broker, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
			registry := prometheus.NewRegistry()
			m := run(t, broker, server, measured(registry))
			wait(t, m.ready, "ready")
			produce(t, broker, 0, 0, 5)
			wait(t, func() bool { return committed(t, broker, 0) == 5 }, "consumes")
			require.NoError(t, broker.ProduceDamaged(t.Context(), topic, 0, codec))
			produce(t, broker, 0, 5, 8)
			wait(t, func() bool { return !m.ready() }, "not ready")
			assert.ErrorContains(t, m.health.of(CheckKafka), "events[0] is stalled at offset 5")
			assert.ErrorContains(t, m.health.of(CheckKafka), "Decompression")
			produce(t, broker, 1, 10, 20)
			wait(t, func() bool { return committed(t, broker, 1) == 10 }, "the other partition")
			wait(t, func() bool { return errorsOf(t, registry, kafka.ErrBadCompression) >= 3 }, "counted")
			assert.Equal(t, 1, strings.Count(m.log.text(), `level=WARN msg="Kafka reports an error"`), "once in 30 s")
			wait(t, func() bool { return strings.Contains(m.log.text(), "partitions are stalled by an error") }, "named")
			assert.Contains(t, m.log.text(), "partitions=events[0]@5")
			assert.EqualValues(t, 4, lag(t, registry, 0))
			assert.EqualValues(t, 5, committed(t, broker, 0))

			m.stop()
			require.NoError(t, m.end(t))
			require.NoError(t, broker.Commit(t.Context(), group, topic, 0, 6, "")) // as the cure says
			second := run(t, broker, server, nil)
			wait(t, func() bool { return committed(t, broker, 0) == 9 && second.ready() }, "goes on")
			assert.Equal(t, 18, server.holds())
		})
	}
}

// TestIngest_OneTopicThatIsRefusedStopsOnlyItself, at the start or later, until it
// is allowed.
func TestIngest_OneTopicThatIsRefusedStopsOnlyItself(t *testing.T) {
	const other = "other"
	for _, name := range []string{"fetch", "everything"} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, later %v", name, later), func(t *testing.T) {
				t.Parallel()
				keys := []kmsg.Key{kmsg.Fetch}
				if name == "everything" {
					keys = append(keys, kmsg.Metadata)
				}
				broker, server := startKafka(t, map[string]int32{topic: 1, other: 1}), newTemporal()
				event := func(n int) {
					require.NoError(t, broker.Produce(t.Context(), other, 0, nil, fmt.Appendf(nil, `{"event_id":"other-%d"}`, n)))
				}
				// The test's own client asks for the topic too.
				refused := kfake.Fault{Keys: keys, Topic: other, Err: kerr.TopicAuthorizationFailed}
				event(0)
				event(1)
				end := func() {}
				if !later {
					_, end = refuse(t, broker, refused)
				}
				m := run(t, broker, server, all(topics(topic, other), extra(map[string]string{"topic.metadata.refresh.interval.ms": "1000"})))
				if later {
					wait(t, func() bool { return server.tried("other-1") == 1 && m.ready() }, "both are consumed")
					event(2)
					wait(t, func() bool { return server.tried("other-2") == 1 }, "both are consumed")
					_, end = refuse(t, broker, refused)
					if name == "fetch" {
						event(3)
					}
				}
				wait(t, func() bool { return strings.Contains(m.log.text(), `msg="a topic may not be read`) }, "named")
				assert.Contains(t, m.log.text(), "refused="+other+" ")
				named, n := time.Now(), 0
				for ; time.Since(named) < rejectionPatience+2*time.Second; n += 10 { // longer than a session waits that may read nothing
					produce(t, broker, 0, n, n+10)
					wait(t, func() bool { return committed(t, broker, 0) == int64(n+10) }, "the other topic is consumed")
				}
				assert.ErrorContains(t, m.health.of(CheckKafka), "may not read "+other)
				assert.NotContains(t, m.log.text(), "reading the connection details again")
				end()
				wait(t, func() bool { // the producer was refused too
					return broker.Produce(t.Context(), other, 0, nil, []byte(`{"event_id":"other-4"}`)) == nil
				}, "produced")
				wait(t, func() bool { return server.tried("other-4") == 1 && m.ready() }, "allowed again")
				wait(t, func() bool { return strings.Contains(m.log.text(), "every topic may be read") }, "reported")
				for i := range n {
					assert.Equal(t, 1, server.tried(id(i)))
				}
			})
		}
	}
}

// TestIngest_EveryTopicRefusedAtTheStart ends it, as a single one does.
func TestIngest_EveryTopicRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, map[string]int32{topic: 1, "other": 1})
	refuse(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch, kmsg.Metadata}, Topic: topic, Err: kerr.TopicAuthorizationFailed})
	refuse(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch, kmsg.Metadata}, Topic: "other", Err: kerr.TopicAuthorizationFailed})
	began := time.Now()
	m := run(t, broker, newTemporal(), topics(topic, "other"))
	var refused *CredentialsError
	require.ErrorAs(t, m.end(t), &refused)
	assert.Less(t, time.Since(began), 20*time.Second)
}

// TestIngest_FindsBrokersThatMoved: the old ones are away for good, and the new ones
// have a certificate of another authority.
func TestIngest_FindsBrokersThatMoved(t *testing.T) {
	t.Parallel()
	old, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	produce(t, old, 0, 0, 5)
	var brokers brokersOf
	brokers.set(old)
	m := run(t, old, server, all(brokers.connect, func(o *Options) { o.ReconnectAfter = 5 * time.Second }))
	wait(t, func() bool { return committed(t, old, 0) == 5 && m.ready() }, "the old ones")
	old.Stop()
	wait(t, func() bool { return strings.Contains(m.log.text(), "could not be read again") }, "the Genesys API is away too")
	moved := startKafka(t, map[string]int32{topic: 1})
	produce(t, moved, 0, 100, 105)
	brokers.set(moved)
	wait(t, func() bool { return committed(t, moved, 0) == 5 && m.ready() }, "the new ones")
	assert.Equal(t, 10, server.holds())
	assert.Contains(t, m.log.text(), "no broker has answered at "+old.Bootstrap())
}

// TestIngest_ReadsARenewedCAFileAgain, which librdkafka does only once.
func TestIngest_ReadsARenewedCAFileAgain(t *testing.T) {
	t.Parallel()
	broker, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	m := run(t, broker, server, func(o *Options) { o.ReconnectAfter = 5 * time.Second })
	produce(t, broker, 0, 0, 5)
	wait(t, func() bool { return committed(t, broker, 0) == 5 && m.ready() }, "the old certificate")
	require.NoError(t, broker.RenewCertificates(t.Context()))
	wait(t, func() bool { return !m.ready() }, "the new one is not trusted")
	produce(t, broker, 0, 5, 10)
	wait(t, func() bool { return committed(t, broker, 0) == 10 && m.ready() }, "the file was read again")
	for n := range 10 {
		assert.Equal(t, 1, server.tried(id(n)))
	}
}

// TestIngest_StaysReadyWhileSASLAuthenticatesAgain, as brokers with
// connections.max.reauth.ms ask for.
func TestIngest_StaysReadyWhileSASLAuthenticatesAgain(t *testing.T) {
	t.Parallel()
	broker, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{
		Dir: t.TempDir(), Topics: map[string]int32{topic: 1}, Backend: devstack.BackendKfake, Reauthenticate: 2 * time.Second,
	})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	reauthentications, err := broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Observe: true, Count: -1})
	require.NoError(t, err)
	server, health := newTemporal(), &countingHealth{}
	m := run(t, broker, server, all(extra(map[string]string{"statistics.interval.ms": "10"}), func(o *Options) {
		health.Health = o.Health
		o.Health = health
	}))
	produce(t, broker, 0, 0, 5)
	wait(t, func() bool { return committed(t, broker, 0) == 5 && m.ready() }, "ready")
	was, before := health.failures(), reauthentications.Hits()
	wait(t, func() bool { return reauthentications.Hits() > before+10 }, "again and again")
	assert.Equal(t, was, health.failures(), "it was ready all the time")
}

// countingHealth counts the reports that Kafka is not ready.
type countingHealth struct {
	Health
	mu sync.Mutex
	n  int
}

func (h *countingHealth) Set(check string, err error) {
	if check == CheckKafka && err != nil {
		h.mu.Lock()
		h.n++
		h.mu.Unlock()
	}
	h.Health.Set(check, err)
}

func (h *countingHealth) failures() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// brokersOf gives a connection that changes, as the Genesys API does. While the
// brokers are away it fails.
type brokersOf struct {
	mu     sync.Mutex
	broker *devstack.Kafka
	asked  int
}

func (b *brokersOf) set(broker *devstack.Kafka) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broker, b.asked = broker, 0
}

// connect answers the first question about a broker, and no more.
func (b *brokersOf) connect(o *Options) {
	o.Connect = func(context.Context) (Connection, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.asked++; b.asked > 1 {
			return Connection{}, errors.New("the Genesys API is away")
		}
		return connectionTo(b.broker), nil
	}
}

func TestReadNotAllowed(t *testing.T) {
	read, describe, all := kafka.ACLOperationRead, kafka.ACLOperationDescribe, kafka.ACLOperationAll
	assert.False(t, ReadNotAllowed(nil), "the brokers listed no operations")
	assert.False(t, ReadNotAllowed([]kafka.ACLOperation{describe, read}))
	assert.False(t, ReadNotAllowed([]kafka.ACLOperation{all}))
	assert.True(t, ReadNotAllowed([]kafka.ACLOperation{describe}))
}
