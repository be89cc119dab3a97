package ingest

import (
	"context"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/internal/devstack"
)

func probeOf(t *testing.T, broker *devstack.Kafka, reset string) *Probe {
	t.Helper()
	p, err := NewProbe(ProbeOptions{GroupID: group, Reset: reset}, connectionTo(broker))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// TestProbeCountsWhatTheGroupHasNotRead, from what it committed, or else from
// where it would begin, and what is gone for it.
func TestProbeCountsWhatTheGroupHasNotRead(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, map[string]int32{topic: 2})
	produce(t, broker, 0, 0, 10)
	produce(t, broker, 1, 10, 15)
	p := probeOf(t, broker, "earliest")
	topics, err := p.Topics(t.Context(), []string{topic, "absent"})
	require.NoError(t, err)
	require.Len(t, topics, 2)
	assert.Equal(t, ProbedTopic{Name: topic, Partitions: 2}, topics[0])
	assert.True(t, topics[1].Unknown())
	topics = topics[:1]

	fresh := func(p *Probe) ProbedGroup {
		g, err := p.Group(t.Context(), topics)
		require.NoError(t, err)
		return g
	}
	assert.Equal(t, ProbedGroup{Lag: 15, Fresh: true}, fresh(p))
	assert.Equal(t, ProbedGroup{Lag: 0, Fresh: true}, fresh(probeOf(t, broker, "latest")))

	name := topic
	zero := kafka.TopicPartition{Topic: &name, Partition: 0, Offset: 4}
	_, err = p.admin.AlterConsumerGroupOffsets(t.Context(), []kafka.ConsumerGroupTopicPartitions{{Group: group, Partitions: []kafka.TopicPartition{zero}}})
	require.NoError(t, err)
	assert.Equal(t, ProbedGroup{Lag: 6 + 5}, fresh(p))
	zero.Offset = 7
	_, err = p.admin.DeleteRecords(t.Context(), []kafka.TopicPartition{zero})
	require.NoError(t, err)
	assert.Equal(t, ProbedGroup{Lag: 3 + 5, Lost: 3}, fresh(p))

	kept, err := p.Retention(t.Context(), topic)
	require.NoError(t, err)
	assert.Equal(t, 7*24*time.Hour, kept)
	require.NoError(t, broker.CreateTopic(t.Context(), "absent", 1), "asking for it has not created it")
	members, err := broker.Members(t.Context(), group)
	require.NoError(t, err)
	assert.Zero(t, members)
}

// TestProbeTellsWhatIsRefused by an ACL, of topic and group.
func TestProbeTellsWhatIsRefused(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, map[string]int32{topic: 1})
	p := probeOf(t, broker, "earliest")
	_, err := p.Authenticate(t.Context())
	require.NoError(t, err)
	_, end := refuse(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic, Err: kerr.TopicAuthorizationFailed})
	topics, err := p.Topics(t.Context(), []string{topic})
	require.NoError(t, err)
	assert.True(t, IsAuthorizationError(topics[0].Err), topics[0].Err)
	assert.False(t, topics[0].Unknown())
	end()
	_, end = refuse(t, broker, kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.GroupAuthorizationFailed})
	_, err = p.Group(t.Context(), []ProbedTopic{{Name: topic, Partitions: 1}})
	assert.True(t, IsAuthorizationError(err), err)
	end()
	_, err = probeOf(t, broker, "earliest").Group(t.Context(), []ProbedTopic{{Name: topic, Partitions: 1}})
	require.NoError(t, err)
}

// TestProbeGivesTheReason of brokers that cannot be asked: a refusal at once, and
// else what librdkafka told until the time was over.
func TestProbeGivesTheReason(t *testing.T) {
	t.Parallel()
	broker := startKafka(t, map[string]int32{topic: 1})
	connection := connectionTo(broker)
	connection.SASLPassword = "hush-wrong"
	p, err := NewProbe(ProbeOptions{GroupID: group, Reset: "earliest"}, connection)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	began := time.Now()
	_, err = p.Authenticate(t.Context())
	assert.True(t, IsAuthenticationError(err), err)
	assert.Less(t, time.Since(began), patience)
	assert.NotContains(t, err.Error(), "hush-wrong")

	broker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = probeOf(t, broker, "earliest").Authenticate(ctx)
	require.ErrorContains(t, err, "no answer in time")
	require.ErrorContains(t, err, "Connection refused")
	assert.False(t, IsAuthenticationError(err))
}

func TestReadingThatIsNotAllowed(t *testing.T) {
	read, describe, all := kafka.ACLOperationRead, kafka.ACLOperationDescribe, kafka.ACLOperationAll
	assert.False(t, mayNotRead(nil), "the brokers did not tell")
	assert.False(t, mayNotRead([]kafka.ACLOperation{describe, read}))
	assert.False(t, mayNotRead([]kafka.ACLOperation{all}))
	assert.True(t, mayNotRead([]kafka.ACLOperation{describe}))
}

func TestATopicThatIsOnlyCompactedKeepsMessagesForever(t *testing.T) {
	config := map[string]kafka.ConfigEntryResult{"retention.ms": {Value: "1000"}}
	for policy, want := range map[string]time.Duration{"compact": Forever, "compact,delete": time.Second, "delete": time.Second} {
		config["cleanup.policy"] = kafka.ConfigEntryResult{Value: policy}
		kept, err := retentionOf(config)
		require.NoError(t, err)
		assert.Equal(t, want, kept, policy)
	}
}

func TestRetentionInMilliseconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1000": time.Second, "0": 0, "-1": Forever, "9223372036854775807": Forever, "9223372036854": 9223372036854 * time.Millisecond,
	} {
		got, err := milliseconds(text)
		require.NoError(t, err)
		assert.Equal(t, want, got, text)
	}
	_, err := milliseconds("")
	require.Error(t, err)
}

// TestSecuredBy: what KAFKA_OPTIONS says beats the other settings.
func TestSecuredBy(t *testing.T) {
	connection := Connection{SecurityProtocol: "SASL_SSL", CALocation: "ca.pem"}
	s := SecuredBy(connection)
	assert.Equal(t, Secured{Protocol: "SASL_SSL", CA: "ca.pem"}, s)
	assert.True(t, s.SASL() && s.TLS())
	connection.Extra = map[string]string{
		"security.protocol": "ssl", "ssl.ca.location": "other.pem", "ssl.key.location": "key.pem", "enable.ssl.certificate.verification": "false", "client.rack": "a",
	}
	s = SecuredBy(connection)
	assert.Equal(t, Secured{Protocol: "SSL", CA: "other.pem", Others: []string{"enable.ssl.certificate.verification", "ssl.key.location"}}, s)
	assert.True(t, !s.SASL() && s.TLS())
	assert.False(t, SecuredBy(Connection{SecurityProtocol: "SASL_PLAINTEXT"}).TLS())
}
