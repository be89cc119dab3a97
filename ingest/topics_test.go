package ingest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The missing topic is named until it is created.
func TestIngest_ConsumesOneTopicWhileAnotherIsMissing(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	const later = "created-later"
	m := run(t, kafka, server, func(o *Options) {
		extra(map[string]string{"topic.metadata.refresh.interval.ms": "1000"})(o)
		topics(topic, later)(o)
	})
	produce(t, kafka, 0, 0, 3)
	wait(t, func() bool { return committed(t, kafka, 0) == 3 && m.ready() }, "the topic that is there")
	wait(t, func() bool { return strings.Contains(m.log.text(), `msg="waiting for a topic"`) }, "named")
	assert.Contains(t, m.log.text(), "missing="+later+" ")
	assert.Contains(t, m.log.text(), `cure="create the topic or correct KAFKA_TOPIC"`)
	require.NoError(t, kafka.CreateTopic(t.Context(), later, 1))
	wait(t, func() bool { return strings.Contains(m.log.text(), "every topic is there") }, "found")
	require.NoError(t, kafka.Produce(t.Context(), later, 0, nil, []byte(`{"event_id":"late"}`)))
	wait(t, func() bool { return server.tried("late") == 1 }, "consumed")
}

func TestTopicID_DiffersOnlyIfBothAreKnown(t *testing.T) {
	id := topicID{Cluster: "c", Topic: "t"}
	for other, want := range map[topicID]bool{
		id: false, {Cluster: "c", Topic: "u"}: true, {Cluster: "d", Topic: "t"}: true, {Topic: "t"}: false, {Topic: "u"}: true, {}: false, {Cluster: "d"}: false,
	} {
		assert.Equal(t, want, id.differs(other), other)
		assert.Equal(t, want, other.differs(id), other)
	}
}

func TestTopicState_MissingOrUnreadable(t *testing.T) {
	assert.True(t, topicState{err: kafka.NewError(kafka.ErrUnknownTopicOrPart, "", false)}.missing())
	assert.True(t, topicState{err: kafka.NewError(kafka.ErrTopicAuthorizationFailed, "", false)}.unreadable())
	assert.True(t, topicState{readNotAllowed: true}.unreadable())
	assert.False(t, topicState{}.unreadable() || topicState{}.missing())
}

// Some brokers that are compatible with Kafka have none.
func TestIngest_ReadsFromBrokersWithoutAClusterID(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	host, portText, err := net.SplitHostPort(cluster.ListenAddrs()[0])
	require.NoError(t, err)
	port, err := strconv.ParseInt(portText, 10, 32)
	require.NoError(t, err)
	id := cluster.TopicInfo(topic).TopicID
	cluster.ControlKey(int16(kmsg.Metadata), func(asked kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		answer := asked.ResponseKind().(*kmsg.MetadataResponse)
		broker := kmsg.NewMetadataResponseBroker()
		broker.Host, broker.Port = host, int32(port)
		answer.Brokers, answer.ControllerID = append(answer.Brokers, broker), broker.NodeID
		found := kmsg.NewMetadataResponseTopic()
		found.Topic, found.TopicID = new(topic), id
		partition := kmsg.NewMetadataResponseTopicPartition()
		partition.Replicas, partition.ISR = []int32{broker.NodeID}, []int32{broker.NodeID}
		found.Partitions = append(found.Partitions, partition)
		answer.Topics = append(answer.Topics, found)
		return answer, nil, true
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(`{"event_id":"evt-0"}`)}).FirstErr())

	server := newTemporal()
	run(t, nil, server, func(o *Options) {
		o.Connect = func(context.Context) (Connection, error) {
			return Connection{BootstrapServers: cluster.ListenAddrs()[0], SecurityProtocol: "PLAINTEXT", Topics: []string{topic}}, nil
		}
	})
	wait(t, func() bool { return server.acceptedCount() == 1 }, "the message")
}

// While the right to read the topic is removed, ingest is not ready and reads the connection
// again.
func TestIngest_ContinuesWhenItsTopicMayBeReadAgain(t *testing.T) {
	for name, keys := range map[string][]kmsg.Key{
		"fetch": {kmsg.Fetch}, "everything": {kmsg.Fetch, kmsg.Metadata},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
			m := run(t, kafka, server, extra(map[string]string{"topic.metadata.refresh.interval.ms": "1000"}))
			produce(t, kafka, 0, 0, 5)
			wait(t, func() bool { return committed(t, kafka, 0) == 5 && m.ready() }, "consumes")
			hits, end := reject(t, kafka, kfake.Fault{Keys: keys, Topic: topic, Err: kerr.TopicAuthorizationFailed})
			wait(t, func() bool { return !m.ready() }, "not ready")
			wait(t, func() bool { return strings.Count(m.log.text(), "reading the connection details again") >= 2 }, "tried again")
			assert.ErrorContains(t, m.health.of(CheckKafka), "KAFKA_TOPIC")
			assert.Positive(t, hits())
			end()
			produce(t, kafka, 0, 5, 10)
			wait(t, func() bool { return committed(t, kafka, 0) == 10 && m.ready() }, "continues")
			for n := range 10 {
				assert.Equal(t, 1, server.tried(id(n)))
			}
		})
	}
}

// A user who may only describe the topic can join the group, and would otherwise wait for
// ever.
func TestIngest_EndsIfItsTopicMayNotBeReadAtTheStart(t *testing.T) {
	for name, keys := range map[string][]kmsg.Key{
		"fetch": {kmsg.Fetch}, "everything": {kmsg.Fetch, kmsg.Metadata},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka := startKafka(t, map[string]int32{topic: 1})
			reject(t, kafka, kfake.Fault{Keys: keys, Topic: topic, Err: kerr.TopicAuthorizationFailed})
			m := run(t, kafka, newTemporal(), nil)
			began := time.Now()
			err := m.end(t)
			var rejected *CredentialsError
			require.ErrorAs(t, err, &rejected)
			assert.ErrorContains(t, err, "may read KAFKA_TOPIC as KAFKA_GROUP_ID")
			assert.Less(t, time.Since(began), 20*time.Second)
			assert.False(t, m.ready())
		})
	}
}

// The right to read one topic is missing at the start, or is removed later, until it is
// granted.
func TestIngest_ATopicThatMayNotBeReadStopsOnlyItself(t *testing.T) {
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
				denied := kfake.Fault{Keys: keys, Topic: other, Err: kerr.TopicAuthorizationFailed}
				event(0)
				event(1)
				end := func() {}
				if !later {
					_, end = reject(t, broker, denied)
				}
				m := run(t, broker, server, all(topics(topic, other), extra(map[string]string{"topic.metadata.refresh.interval.ms": "1000"})))
				if later {
					wait(t, func() bool { return server.tried("other-1") == 1 && m.ready() }, "both are consumed")
					event(2)
					wait(t, func() bool { return server.tried("other-2") == 1 }, "both are consumed")
					_, end = reject(t, broker, denied)
					if name == "fetch" {
						event(3)
					}
				}
				wait(t, func() bool { return strings.Contains(m.log.text(), `msg="a topic may not be read`) }, "named")
				assert.Contains(t, m.log.text(), "refused="+other+" ")
				named, n := time.Now(), 0
				for ; time.Since(named) < rejectionPatience+2*time.Second; n += 10 { // longer than a session lasts that may read nothing
					produce(t, broker, 0, n, n+10)
					wait(t, func() bool { return committed(t, broker, 0) == int64(n+10) }, "the other topic is consumed")
				}
				assert.ErrorContains(t, m.health.of(CheckKafka), "may not read "+other)
				assert.NotContains(t, m.log.text(), "reading the connection details again")
				end()
				wait(t, func() bool { // the producer was rejected too
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

func TestIngest_EndsIfNoTopicMayBeReadAtTheStart(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, map[string]int32{topic: 1, "other": 1})
	reject(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch, kmsg.Metadata}, Topic: topic, Err: kerr.TopicAuthorizationFailed})
	reject(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch, kmsg.Metadata}, Topic: "other", Err: kerr.TopicAuthorizationFailed})
	began := time.Now()
	m := run(t, broker, newTemporal(), topics(topic, "other"))
	var rejected *CredentialsError
	require.ErrorAs(t, m.end(t), &rejected)
	assert.Less(t, time.Since(began), 20*time.Second)
}
