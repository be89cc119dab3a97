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

// publishTo puts n flat events on one partition of a topic.
func (s *stack) publishTo(topic string, partition int32, from, n int) {
	s.t.Helper()
	messages := make([]devstack.Message, 0, n)
	for i := from; i < from+n; i++ {
		messages = append(messages, devstack.Message{Topic: topic, Partition: partition, Value: flat(s.id(i), "conversation.started")})
	}
	require.NoError(s.t, s.kafka.ProduceAll(s.ctx, messages...))
}

// ofPartition is a sample of the first partition of the stack's topic.
func (s *stack) ofPartition(name string) string {
	return fmt.Sprintf(`%s{partition="0",topic="%s"}`, name, s.name)
}

// ownKafka starts a broker that a test may stop or change.
func ownKafka(t *testing.T, options devstack.KafkaOptions) *devstack.Kafka {
	t.Helper()
	options.Dir = t.TempDir()
	kafka, err := devstack.StartKafka(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
	return kafka
}

// TestKafka_DroppedMessagesAreReportedAndCounted: retention was faster than ingest.
func TestKafka_DroppedMessagesAreReportedAndCounted(t *testing.T) {
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
	assert.EqualValues(t, 20, s.metric(ingest, s.ofPartition("fanout_messages_skipped_total")))
	line, err := ingest.WaitLine(s.ctx, "Kafka dropped messages")
	require.NoError(t, err)
	for _, part := range []string{"level=WARN", "topic=" + s.name, "partition=0", "skipped=20"} {
		assert.Contains(t, line, part)
	}
}

// TestKafka_ATopicCreatedAgainIsReadFromItsBeginning while ingest runs, though its
// position is one that the new topic has too.
func TestKafka_ATopicCreatedAgainIsReadFromItsBeginning(t *testing.T) {
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

// TestKafka_LagIsTrueWhileTemporalIsAway: nothing can be committed, and messages go
// on coming.
func TestKafka_LagIsTrueWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	temporal, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{DBFile: filepath.Join(t.TempDir(), "temporal.db")})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	ingest := s.run("ingest")
	temporal.Kill()
	require.NoError(t, ingest.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
	lag := s.ofPartition("fanout_consumer_lag")
	for n := 0; n < 5000; n += 2500 {
		s.publishTo(s.name, 0, n, 2500)
		s.eventually(func() bool { return s.metric(ingest, lag) == float64(n+2500) }, "lag of %d", n+2500)
	}
	s.eventually(func() bool { return s.metric(ingest, s.ofPartition("fanout_consumer_lag_seconds")) > 5 }, "age")
	require.NoError(t, temporal.Start(s.ctx))
	s.run("worker")
	s.waitCommitted(5000)
	s.eventually(func() bool {
		return s.metric(ingest, lag) == 0 && s.metric(ingest, s.ofPartition("fanout_consumer_lag_seconds")) == 0
	}, "no lag")
}

// TestKafka_AbortedTransactionsAndCompactionLeaveNoLag, and count as no loss.
func TestKafka_AbortedTransactionsAndCompactionLeaveNoLag(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	compacted := s.name + "-compacted"
	require.NoError(t, s.kafka.CreateTopicWith(s.ctx, compacted, 1, devstack.CompactedSettings()))
	put := func(n int, key string) {
		require.NoError(t, s.kafka.Produce(s.ctx, compacted, 0, []byte(key), flat(s.id(n), "conversation.started")))
	}
	for n := range 10 {
		put(900+n, "one")
	}
	s.eventually(func() bool { // a segment that is full ends with the next message
		put(910, "two")
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		return s.kafka.Compact(ctx, compacted, 0) == nil
	}, "compacted")

	s.run("worker")
	ingest := s.run("ingest", "KAFKA_TOPIC="+s.name+","+compacted)
	event := func(n int) devstack.Message {
		return devstack.Message{Topic: s.name, Value: flat(s.id(n), "conversation.started")}
	}
	require.NoError(t, s.kafka.Transaction(s.ctx, kgo.TryCommit, event(0), event(1)))
	require.NoError(t, s.kafka.Transaction(s.ctx, kgo.TryAbort, event(800), event(801), event(802)))
	s.waitFor("analytics", func(target *devstack.Target) bool { return delivered(target)[s.id(1)] == 1 })
	put(920, "three")
	s.waitFor("analytics", func(target *devstack.Target) bool { return delivered(target)[s.id(920)] == 1 })
	s.waitCommitted(7) // two and a control record, three and one
	behind := fmt.Sprintf(`fanout_consumer_lag{partition="0",topic="%s"}`, compacted)
	s.eventually(func() bool {
		return s.metric(ingest, s.ofPartition("fanout_consumer_lag")) == 0 && s.metric(ingest, behind) == 0
	}, "no lag")
	for _, n := range []int{800, 801, 802, 900} {
		assert.Zero(t, delivered(s.targets["analytics"])[s.id(n)])
	}
	assert.NotContains(t, ingest.Text(), "dropped")
	metrics := s.get(ingest, "/metrics")
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "fanout_messages_skipped_total{") {
			assert.True(t, strings.HasSuffix(line, " 0\n"), line)
		}
	}
	assert.Contains(t, metrics, "fanout_messages_skipped_total{")
}

// TestKafka_ABatchThatCannotBeReadMakesIngestNotReady, and stops its partition alone.
func TestKafka_ABatchThatCannotBeReadMakesIngestNotReady(t *testing.T) {
	t.Parallel()
	if shared.kafka.Backend() != devstack.BackendKfake {
		t.Skip("Apache Kafka takes no such batch")
	}
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publishTo(s.name, 0, 0, 3)
	s.exactlyOnce("analytics", 3)
	require.NoError(t, s.kafka.ProduceDamaged(s.ctx, s.name, 0, devstack.Gzip))
	require.NoError(t, ingest.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
	assert.Contains(t, s.get(ingest, "/readyz"), s.name+"[0] is stalled at offset 3")
	assert.Positive(t, s.metric(ingest, `fanout_kafka_errors_total{code="Local: Invalid compressed data"}`))
	s.publishTo(s.name, 1, 3, 3)
	s.exactlyOnce("analytics", 6)
}

// TestKafka_ATopicThatMayNotBeReadStopsOnlyItself until it may be read again.
func TestKafka_ATopicThatMayNotBeReadStopsOnlyItself(t *testing.T) {
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
	s.eventually(func() bool { return strings.Contains(s.get(ingest, "/readyz"), "may not read "+other) }, "not ready")

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
	code, text := s.ends(s.start("ingest", append(settings, "KAFKA_GROUP_ID="+s.name+"-another")...))
	assert.Equal(t, 1, code, "no topic at all")
	assert.Contains(t, text, "may read KAFKA_TOPIC as KAFKA_GROUP_ID")
}

// TestKafka_BrokersThatMovedAreFound: the details, and the CA file with them, are
// read again after a minute without any broker.
func TestKafka_BrokersThatMovedAreFound(t *testing.T) {
	t.Parallel()
	old := ownKafka(t, devstack.KafkaOptions{})
	s := newStackOn(t, shared.temporal, old, targetScripts{"analytics": ok}, oneTarget)
	genesys := s.genesys()
	ca := filepath.Join(s.dir, "ca.pem")
	trust := func(kafka *devstack.Kafka) {
		content, err := os.ReadFile(kafka.CAFile())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(ca, content, 0o600))
	}
	trust(old)
	s.run("worker")
	ingest := s.run("ingest", append(s.fromGenesys(genesys), "KAFKA_SSL_CA_LOCATION="+ca)...)
	s.publish(0, 10)
	s.exactlyOnce("analytics", 10)

	old.Stop()
	lost := time.Now()
	s.kafka = ownKafka(t, devstack.KafkaOptions{})
	require.NoError(t, s.kafka.CreateTopic(s.ctx, s.name, 4))
	trust(s.kafka)
	genesys.SetDetails(devstack.DetailsOf(s.kafka, s.name))
	s.publish(10, 10)
	_, err := ingest.WaitLine(s.ctx, "reading the connection details again")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(lost), 50*time.Second)
	s.exactlyOnce("analytics", 20)
	s.waitCommitted(10)
	require.NoError(t, ingest.WaitReady(s.ctx))
}

// TestKafka_OAuthBearer consumes with tokens of an OpenID Connect provider, whose
// settings are in a file, and shows no secret.
func TestKafka_OAuthBearer(t *testing.T) {
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

	code, text := s.ask("ingest", []string{"--check"}, s.env(settings...))
	assert.Zero(t, code, text)
	assert.Regexp(t, `KAFKA_OPTIONS +\(set\)`, text)
	assert.NotContains(t, text, tokens.Secret())
	code, text = s.ask("ingest", []string{"--preflight"}, s.env(settings...))
	assert.Zero(t, code, text)
	assert.Contains(t, text, "kafka authentication: SASL_SSL with OAUTHBEARER")

	secret := tokens.Secret()
	tokens.SetSecret("another-secret")
	code, text = s.ends(s.start("ingest", settings...))
	assert.Equal(t, 1, code, text)
	assert.Contains(t, text, "sasl.oauthbearer settings in KAFKA_OPTIONS")
	assert.NotContains(t, text, secret)
}

// TestKafka_StaysReadyWhileSASLAuthenticatesAgain on each connection, every few
// seconds.
func TestKafka_StaysReadyWhileSASLAuthenticatesAgain(t *testing.T) {
	t.Parallel()
	s := newStackOn(t, shared.temporal, ownKafka(t, devstack.KafkaOptions{Reauthenticate: 2 * time.Second}), targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest", "KAFKA_OPTIONS=statistics.interval.ms=50")
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for n := range 20 { // a second each
		s.publish(n, 1)
		for range 20 {
			<-ticker.C
			code, err := ingest.Get(s.ctx, "/readyz")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code, s.get(ingest, "/readyz"))
		}
	}
	s.exactlyOnce("analytics", 20)
}
