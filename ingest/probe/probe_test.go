package probe

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/ingest"
	"genesys-fanout/internal/devstack"
)

const (
	topic = "events"
	group = "probe-test"
)

func startKafka(t *testing.T, partitions int32) *devstack.Kafka {
	t.Helper()
	broker, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{
		Dir: t.TempDir(), Topics: map[string]int32{topic: partitions}, Backend: devstack.BackendKfake,
	})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	return broker
}

func connectionTo(broker *devstack.Kafka) ingest.Connection {
	return ingest.Connection{
		BootstrapServers: broker.Bootstrap(), SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512",
		SASLUsername: broker.Username(), SASLPassword: broker.Password(), CALocation: broker.CAFile(), Topics: []string{topic},
	}
}

func newProbe(t *testing.T, connection ingest.Connection, reset string) *Probe {
	t.Helper()
	p, err := New(Options{GroupID: group, Reset: reset}, connection)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// produce writes messages to one partition.
func produce(t *testing.T, broker *devstack.Kafka, partition int32, count int) {
	t.Helper()
	var messages []devstack.Message
	for n := range count {
		messages = append(messages, devstack.Message{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, `{"event_id":"evt-%d-%d"}`, partition, n)})
	}
	require.NoError(t, broker.ProduceAll(t.Context(), messages...))
}

// reject makes the broker answer requests with an error until the returned function is
// called.
func reject(t *testing.T, broker *devstack.Kafka, fault kfake.Fault) (end func()) {
	t.Helper()
	fault.Count = -1
	handle, err := broker.Fault(fault)
	require.NoError(t, err)
	return handle.Remove
}

// The lag counts from the group's commits, or else from where the group would begin.
// Messages that the topic dropped are counted apart.
func TestProbe_CountsTheLagOfTheGroup(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, 2)
	produce(t, broker, 0, 10)
	produce(t, broker, 1, 5)
	p := newProbe(t, connectionTo(broker), "earliest")
	topics, err := p.Topics(t.Context(), []string{topic, "absent"})
	require.NoError(t, err)
	require.Len(t, topics, 2)
	assert.Equal(t, Topic{Name: topic, Partitions: 2}, topics[0])
	assert.True(t, topics[1].Missing())
	topics = topics[:1]

	groupOf := func(p *Probe) Group {
		g, err := p.Group(t.Context(), topics)
		require.NoError(t, err)
		return g
	}
	assert.Equal(t, Group{Lag: 15, NoCommits: true}, groupOf(p))
	assert.Equal(t, Group{Lag: 0, NoCommits: true}, groupOf(newProbe(t, connectionTo(broker), "latest")))

	require.NoError(t, broker.Commit(t.Context(), group, topic, 0, 4, ""))
	assert.Equal(t, Group{Lag: 6 + 5}, groupOf(p))
	require.NoError(t, broker.DeleteRecords(t.Context(), topic, 0, 7))
	assert.Equal(t, Group{Lag: 3 + 5, Dropped: 3}, groupOf(p))

	kept, err := p.Retention(t.Context(), topic)
	require.NoError(t, err)
	assert.Equal(t, 7*24*time.Hour, kept)
	require.NoError(t, broker.CreateTopic(t.Context(), "absent", 1), "the probe did not create it")
	members, err := broker.Members(t.Context(), group)
	require.NoError(t, err)
	assert.Zero(t, members, "the probe did not join the group")
}

func TestProbe_ReportsRightsThatTheUserLacks(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, 1)
	p := newProbe(t, connectionTo(broker), "earliest")
	_, err := p.Authenticate(t.Context())
	require.NoError(t, err)
	end := reject(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic, Err: kerr.TopicAuthorizationFailed})
	topics, err := p.Topics(t.Context(), []string{topic})
	require.NoError(t, err)
	assert.True(t, ingest.IsAuthorizationError(topics[0].Err), topics[0].Err)
	assert.False(t, topics[0].Missing())
	end()
	end = reject(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.GroupAuthorizationFailed})
	_, err = p.Group(t.Context(), []Topic{{Name: topic, Partitions: 1}})
	assert.True(t, ingest.IsAuthorizationError(err), err)
	end()
	_, err = newProbe(t, connectionTo(broker), "earliest").Group(t.Context(), []Topic{{Name: topic, Partitions: 1}})
	require.NoError(t, err)
}

// Rejected credentials end a request at once. If nobody answers, the error includes what
// librdkafka reported meanwhile.
func TestProbe_ReportsWhyBrokersDoNotAnswer(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, 1)
	connection := connectionTo(broker)
	connection.SASLPassword = "hush-wrong"
	began := time.Now()
	_, err := newProbe(t, connection, "earliest").Authenticate(t.Context())
	assert.True(t, ingest.IsAuthenticationError(err), err)
	assert.Less(t, time.Since(began), 30*time.Second)
	assert.NotContains(t, err.Error(), "hush-wrong")

	broker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = newProbe(t, connectionTo(broker), "earliest").Authenticate(ctx)
	require.ErrorContains(t, err, "no answer in time")
	require.ErrorContains(t, err, "Connection refused")
	assert.False(t, ingest.IsAuthenticationError(err))
}

func TestRetention_OfACompactedTopicIsForever(t *testing.T) {
	config := map[string]kafka.ConfigEntryResult{"retention.ms": {Value: "1000"}}
	for policy, want := range map[string]time.Duration{"compact": Forever, "compact,delete": time.Second, "delete": time.Second} {
		config["cleanup.policy"] = kafka.ConfigEntryResult{Value: policy}
		kept, err := retentionOf(config)
		require.NoError(t, err)
		assert.Equal(t, want, kept, policy)
	}
}

func TestRetention_InMilliseconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1000": time.Second, "0": 0, "-1": Forever, "9223372036854775807": Forever, "9223372036854": 9223372036854 * time.Millisecond,
	} {
		got, err := parseRetention(text)
		require.NoError(t, err)
		assert.Equal(t, want, got, text)
	}
	_, err := parseRetention("")
	require.Error(t, err)
}

func TestSecurityOf_KafkaOptionsOverrideTheOtherSettings(t *testing.T) {
	connection := ingest.Connection{SecurityProtocol: "SASL_SSL", CALocation: "ca.pem"}
	s := SecurityOf(connection)
	assert.Equal(t, Security{Protocol: "SASL_SSL", CA: "ca.pem"}, s)
	assert.True(t, s.SASL() && s.TLS())
	connection.Extra = map[string]string{
		"security.protocol": "ssl", "ssl.ca.location": "other.pem", "ssl.key.location": "key.pem", "enable.ssl.certificate.verification": "false", "client.rack": "a",
	}
	s = SecurityOf(connection)
	assert.Equal(t, Security{Protocol: "SSL", CA: "other.pem", Others: []string{"enable.ssl.certificate.verification", "ssl.key.location"}}, s)
	assert.True(t, !s.SASL() && s.TLS())
	assert.False(t, SecurityOf(ingest.Connection{SecurityProtocol: "SASL_PLAINTEXT"}).TLS())
}
