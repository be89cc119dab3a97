package ingest

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestIngest_ConsumesTheTopicThatIsThere while another one is missing, which is
// named until it is created.
func TestIngest_ConsumesTheTopicThatIsThere(t *testing.T) {
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

func TestTopicID_TravelsInTheMetadataOfACommit(t *testing.T) {
	id := topicID{Cluster: "4L6g3nShT-eMCtK--X86sw", Topic: "lmBcXWZLRyGzn3ZpZ5g7AQ"}
	require.NotNil(t, commitMetadata(id))
	assert.JSONEq(t, `{"v":1,"cluster":"4L6g3nShT-eMCtK--X86sw","topic":"lmBcXWZLRyGzn3ZpZ5g7AQ"}`, *commitMetadata(id))
	assert.Equal(t, id, parseMetadata(commitMetadata(id)))
	assert.Nil(t, commitMetadata(topicID{Cluster: "c"}), "a broker before 2.8")

	strange := topicID{Cluster: strings.Repeat("c", 5000), Topic: "t"}
	assert.LessOrEqual(t, len(*commitMetadata(strange)), maxMetadataLength)
	assert.False(t, parseMetadata(commitMetadata(strange)).differs(strange))

	for _, other := range []string{"", "reset by kafka-consumer-groups", "{", `{"v":2,"topic":"t"}`, `"x"`} {
		assert.False(t, parseMetadata(&other).known(), other)
	}
	assert.False(t, parseMetadata(nil).known())
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

func TestTopicState(t *testing.T) {
	assert.True(t, topicState{err: kafka.NewError(kafka.ErrUnknownTopicOrPart, "", false)}.missing())
	assert.True(t, topicState{err: kafka.NewError(kafka.ErrTopicAuthorizationFailed, "", false)}.unreadable())
	assert.True(t, topicState{readNotAllowed: true}.unreadable())
	assert.False(t, topicState{}.unreadable() || topicState{}.missing())
}

// TestIngest_ReadsFromBrokersThatGiveNoClusterID, as some that are compatible with
// Kafka do.
func TestIngest_ReadsFromBrokersThatGiveNoClusterID(t *testing.T) {
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
	wait(t, func() bool { return server.holds() == 1 }, "the message")
}
