package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"genesys-fanout/internal/devstack"
)

// publishTo writes n flat events to one partition of a topic. Their numbers start at from.
func (s *stack) publishTo(topic string, partition int32, from, n int) {
	s.t.Helper()
	messages := make([]devstack.Message, 0, n)
	for i := from; i < from+n; i++ {
		messages = append(messages, devstack.Message{Topic: topic, Partition: partition, Value: flatEvent(s.id(i), "conversation.started")})
	}
	require.NoError(s.t, s.kafka.ProduceAll(s.ctx, messages...))
}

// partitionSample returns the sample of a metric for the first partition of the stack's topic.
func (s *stack) partitionSample(name string) string {
	return fmt.Sprintf(`%s{partition="0",topic="%s"}`, name, s.name)
}

// Retention deletes messages that ingest has not read.
func TestKafka_MessagesDeletedByRetentionAreReportedAndCounted(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publishTo(s.name, 0, 0, 10)
	s.waitCommitted(10)
	stop(t, ingest)
	s.publishTo(s.name, 0, 10, 30)
	require.NoError(t, s.kafka.DeleteRecords(s.ctx, s.name, 0, 30))
	ingest = s.run("ingest")
	s.exactlyOnce("analytics", 20)
	s.waitCommitted(40)
	assert.EqualValues(t, 20, s.metric(ingest, s.partitionSample("fanout_messages_skipped_total")))
	line, err := ingest.WaitLine(s.ctx, "Kafka dropped messages")
	require.NoError(t, err)
	for _, part := range []string{"level=WARN", "topic=" + s.name, "partition=0", "skipped=20"} {
		assert.Contains(t, line, part)
	}
}

// The topic is recreated while ingest runs. The new topic has messages at the committed offset too, so
// the offset alone does not show that it is another topic.
func TestKafka_RecreatedTopicIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest", "KAFKA_AUTO_OFFSET_RESET=latest")
	s.publishTo(s.name, 0, 0, 20)
	s.exactlyOnce("analytics", 20)
	s.waitCommitted(20)
	require.NoError(t, s.kafka.DeleteTopic(s.ctx, s.name))
	require.NoError(t, s.kafka.CreateTopic(s.ctx, s.name, 4))
	s.publishTo(s.name, 0, 100, 30)
	s.exactlyOnce("analytics", 50)
	s.waitCommitted(30)
	line, err := ingest.WaitLine(s.ctx, "it was deleted and created again")
	require.NoError(t, err)
	assert.Contains(t, line, "level=ERROR")
}

// While Temporal is down, nothing is committed and the lag grows with each message.
func TestKafka_LagMetricsWhileTemporalIsDown(t *testing.T) {
	t.Parallel()
	temporal := ownTemporal(t)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	ingest := s.run("ingest")
	temporal.Kill()
	require.NoError(t, ingest.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
	lag := s.partitionSample("fanout_consumer_lag")
	for n := 0; n < 5000; n += 2500 {
		s.publishTo(s.name, 0, n, 2500)
		s.eventually(func() bool { return s.metric(ingest, lag) == float64(n+2500) }, "a lag of %d", n+2500)
	}
	s.eventually(func() bool { return s.metric(ingest, s.partitionSample("fanout_consumer_lag_seconds")) > 5 }, "a lag of 5 s")
	require.NoError(t, temporal.Start(s.ctx))
	s.run("worker")
	s.waitCommitted(5000)
	s.eventually(func() bool {
		return s.metric(ingest, lag) == 0 && s.metric(ingest, s.partitionSample("fanout_consumer_lag_seconds")) == 0
	}, "no lag")
}

// The gaps that they leave in the offsets do not count as lost messages.
func TestKafka_AbortedTransactionsAndCompactionLeaveNoLag(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	compacted := s.name + "-compacted"
	require.NoError(t, s.kafka.CreateTopicWith(s.ctx, compacted, 1, devstack.CompactedSettings()))
	put := func(n int, key string) {
		require.NoError(t, s.kafka.Produce(s.ctx, compacted, 0, []byte(key), flatEvent(s.id(n), "conversation.started")))
	}
	for n := range 10 {
		put(900+n, "one")
	}
	s.eventually(func() bool { // the next message ends a segment that is full
		put(910, "two")
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		return s.kafka.Compact(ctx, compacted, 0) == nil
	}, "the compaction of the topic")

	s.run("worker")
	ingest := s.run("ingest", "KAFKA_TOPIC="+s.name+","+compacted)
	event := func(n int) devstack.Message {
		return devstack.Message{Topic: s.name, Value: flatEvent(s.id(n), "conversation.started")}
	}
	require.NoError(t, s.kafka.Transaction(s.ctx, kgo.TryCommit, event(0), event(1)))
	require.NoError(t, s.kafka.Transaction(s.ctx, kgo.TryAbort, event(800), event(801), event(802)))
	s.waitFor("analytics", func(target *devstack.Target) bool { return delivered(target)[s.id(1)] == 1 })
	put(920, "three")
	s.waitFor("analytics", func(target *devstack.Target) bool { return delivered(target)[s.id(920)] == 1 })
	// Two messages and a control record of the committed transaction, three messages and a control record
	// of the aborted one.
	s.waitCommitted(7)
	compactedLag := fmt.Sprintf(`fanout_consumer_lag{partition="0",topic="%s"}`, compacted)
	s.eventually(func() bool {
		return s.metric(ingest, s.partitionSample("fanout_consumer_lag")) == 0 && s.metric(ingest, compactedLag) == 0
	}, "no lag")
	for _, n := range []int{800, 801, 802, 900} {
		assert.Zero(t, delivered(s.targets["analytics"])[s.id(n)])
	}
	assert.NotContains(t, ingest.Text(), "dropped")
	metrics := s.body(ingest, "/metrics")
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "fanout_messages_skipped_total{") {
			assert.True(t, strings.HasSuffix(line, " 0\n"), line)
		}
	}
	assert.Contains(t, metrics, "fanout_messages_skipped_total{")
}

// The other partitions are still read.
func TestKafka_CorruptBatchStallsItsPartitionAndMakesIngestNotReady(t *testing.T) {
	t.Parallel()
	if shared.kafka.Backend() != devstack.BackendKfake {
		t.Skip("Apache Kafka rejects a corrupt batch")
	}
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publishTo(s.name, 0, 0, 3)
	s.exactlyOnce("analytics", 3)
	require.NoError(t, s.kafka.ProduceDamaged(s.ctx, s.name, 0, devstack.Gzip))
	require.NoError(t, ingest.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
	assert.Contains(t, s.body(ingest, "/readyz"), s.name+"[0] is stalled at offset 3")
	assert.Positive(t, s.metric(ingest, `fanout_kafka_errors_total{code="Local: Invalid compressed data"}`))
	s.publishTo(s.name, 1, 3, 3)
	s.exactlyOnce("analytics", 6)
}

// When ingest is authorized again, it continues to read the topic.
func TestKafka_UnauthorizedTopicDoesNotStopOtherTopics(t *testing.T) {
	t.Parallel()
	s := newStackOn(t, shared.temporal, ownKafka(t, devstack.KafkaOptions{ACLs: true}), targetScripts{"analytics": ok}, oneTarget)
	other := s.name + "-other"
	require.NoError(t, s.kafka.CreateTopic(s.ctx, other, 2))
	require.NoError(t, s.kafka.DenyRead(s.ctx, other))
	s.run("worker")
	settings := []string{"KAFKA_TOPIC=" + s.name + "," + other, "KAFKA_OPTIONS=topic.metadata.refresh.interval.ms=2000"}
	ingest := s.start("ingest", settings...)
	s.publishTo(s.name, 0, 0, 10)
	s.publishTo(other, 0, 10, 10)
	s.exactlyOnce("analytics", 10)
	line, err := ingest.WaitLine(s.ctx, "a topic may not be read")
	require.NoError(t, err)
	assert.Contains(t, line, "refused="+other)
	assert.Contains(t, line, "cure=")
	s.eventually(func() bool { return strings.Contains(s.body(ingest, "/readyz"), "may not read "+other) }, "not ready")

	require.NoError(t, s.kafka.AllowRead(s.ctx, other))
	s.exactlyOnce("analytics", 20)
	require.NoError(t, ingest.WaitReady(s.ctx))

	require.NoError(t, s.kafka.DenyRead(s.ctx, other)) // while it runs
	require.NoError(t, ingest.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
	s.publishTo(other, 1, 20, 10)
	s.publishTo(s.name, 0, 30, 10)
	s.exactlyOnce("analytics", 30)
	assert.NotContains(t, ingest.Text(), "reading the connection details again")

	require.NoError(t, s.kafka.DenyRead(s.ctx, s.name))
	code, text := s.waitEnd(s.start("ingest", append(settings, "KAFKA_GROUP_ID="+s.name+"-another")...))
	assert.Equal(t, 1, code, "ingest ends if it may read no topic")
	assert.Contains(t, text, "may read KAFKA_TOPIC as KAFKA_GROUP_ID")
}

// After a minute without any broker, ingest reads the connection details and the CA file again.
func TestKafka_NewBootstrapServersAreFetchedFromGenesys(t *testing.T) {
	t.Parallel()
	old := ownKafka(t, devstack.KafkaOptions{})
	s := newStackOn(t, shared.temporal, old, targetScripts{"analytics": ok}, oneTarget)
	genesys := s.startGenesys()
	ca := filepath.Join(s.dir, "ca.pem")
	writeCA := func(kafka *devstack.Kafka) {
		content, err := os.ReadFile(kafka.CAFile())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(ca, content, 0o600))
	}
	writeCA(old)
	s.run("worker")
	ingest := s.run("ingest", append(s.genesysSettings(genesys), "KAFKA_SSL_CA_LOCATION="+ca)...)
	s.publish(0, 10)
	s.exactlyOnce("analytics", 10)

	old.Stop()
	lost := time.Now()
	s.kafka = ownKafka(t, devstack.KafkaOptions{})
	require.NoError(t, s.kafka.CreateTopic(s.ctx, s.name, 4))
	writeCA(s.kafka)
	genesys.SetDetails(devstack.DetailsOf(s.kafka, s.name))
	s.publish(10, 10)
	_, err := ingest.WaitLine(s.ctx, "reading the connection details again")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(lost), 50*time.Second)
	s.exactlyOnce("analytics", 20)
	s.waitCommitted(10)
	require.NoError(t, ingest.WaitReady(s.ctx))
}

// The tokens come from an OpenID Connect provider whose settings are in a file.
func TestKafka_OAuthBearerConsumesAndHidesTheSecret(t *testing.T) {
	t.Parallel()
	tokens, err := devstack.StartTokenEndpoint(t.Context(), time.Minute)
	require.NoError(t, err)
	t.Cleanup(tokens.Close)
	s := newStackOn(t, shared.temporal, ownKafka(t, devstack.KafkaOptions{Tokens: tokens}), targetScripts{"analytics": ok}, oneTarget)
	file := filepath.Join(s.dir, "kafka-options")
	require.NoError(t, os.WriteFile(file, []byte(tokens.Options()+"\n"), 0o600))
	settings := append(tokens.Settings(), "KAFKA_OPTIONS=", "KAFKA_OPTIONS_FILE="+file, "FANOUT_LOG_LEVEL=debug")
	s.run("worker")
	ingest := s.run("ingest", settings...)
	s.publish(0, 10)
	s.exactlyOnce("analytics", 10)
	assert.Positive(t, tokens.Calls())
	assert.Equal(t, "kafka", tokens.Scope())
	stop(t, ingest)
	assert.NotContains(t, ingest.Text(), tokens.Secret())

	code, text := s.runToEnd("ingest", []string{"--check"}, s.env(settings...))
	assert.Zero(t, code, text)
	assert.Regexp(t, `KAFKA_OPTIONS +\(set\)`, text)
	assert.NotContains(t, text, tokens.Secret())
	code, text = s.runToEnd("ingest", []string{"--preflight"}, s.env(settings...))
	assert.Zero(t, code, text)
	assert.Contains(t, text, "kafka authentication: SASL_SSL with OAUTHBEARER")

	secret := tokens.Secret()
	tokens.SetSecret("another-secret")
	code, text = s.waitEnd(s.start("ingest", settings...))
	assert.Equal(t, 1, code, text)
	assert.Contains(t, text, "sasl.oauthbearer settings in KAFKA_OPTIONS")
	assert.NotContains(t, text, secret)
}

// Each connection authenticates again every two seconds.
func TestKafka_StaysReadyDuringSASLReauthentication(t *testing.T) {
	t.Parallel()
	s := newStackOn(t, shared.temporal, ownKafka(t, devstack.KafkaOptions{Reauthenticate: 2 * time.Second}), targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest", "KAFKA_OPTIONS=statistics.interval.ms=50")
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for n := range 20 { // each takes a second
		s.publish(n, 1)
		for range 20 {
			<-ticker.C
			code, err := ingest.Get(s.ctx, "/readyz")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code, s.body(ingest, "/readyz"))
		}
	}
	s.exactlyOnce("analytics", 20)
}
