package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

// ingest commits a message only after Temporal has accepted it. Both processes recover by themselves.
func TestTemporalOutage_NothingIsCommittedAndProcessesRecover(t *testing.T) {
	temporal := ownTemporal(t)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	worker, ingest := s.run("worker"), s.run("ingest")
	s.publish(0, 10)
	s.exactlyOnce("analytics", 10)
	s.waitCommitted(10)

	temporal.Kill()
	s.publish(10, 20)
	for _, p := range []*devstack.Process{worker, ingest} {
		lost := time.Now()
		require.NoError(t, p.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
		assert.Less(t, time.Since(lost), 20*time.Second)
		code, err := p.Get(s.ctx, "/healthz")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, code)
	}
	assert.EqualValues(t, 10, s.committed(), "nothing is committed that Temporal has not accepted")

	require.NoError(t, temporal.Start(s.ctx))
	require.NoError(t, worker.WaitReady(s.ctx))
	require.NoError(t, ingest.WaitReady(s.ctx))
	s.exactlyOnce("analytics", 30)
	s.waitCommitted(30)
}

func TestKafkaOutage_IngestIsNotReadyAndRecovers(t *testing.T) {
	kafka := ownKafka(t, devstack.KafkaOptions{})
	s := newStackOn(t, shared.temporal, kafka, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publish(0, 10)
	s.exactlyOnce("analytics", 10)

	kafka.Stop()
	lost := time.Now()
	require.NoError(t, ingest.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
	assert.Less(t, time.Since(lost), 20*time.Second)
	require.NoError(t, kafka.Start(s.ctx))
	require.NoError(t, ingest.WaitReady(s.ctx))
	s.publish(10, 10)
	s.exactlyOnce("analytics", 20)
	s.waitCommitted(20)
}

// ingest reads the connection details again and makes a new consumer.
func TestCredentialRotation_IngestFetchesNewCredentialsFromGenesys(t *testing.T) {
	kafka := ownKafka(t, devstack.KafkaOptions{})
	s := newStackOn(t, shared.temporal, kafka, targetScripts{"analytics": ok}, oneTarget)
	genesys := s.startGenesys()
	s.run("worker")
	ingest := s.run("ingest", s.genesysSettings(genesys)...)
	s.publish(0, 10)
	s.exactlyOnce("analytics", 10)

	require.NoError(t, kafka.SetPassword(s.ctx, "rotated-password"))
	genesys.SetDetails(devstack.DetailsOf(kafka, s.name))
	s.publish(10, 10)
	s.exactlyOnce("analytics", 20)
	s.waitCommitted(20)
	require.NoError(t, ingest.WaitReady(s.ctx))
	assert.NotContains(t, ingest.Text(), "rotated-password")
}

// Another consumer group reads all messages again.
func TestRedelivery_DuplicateMessagesAreDropped(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publish(0, 20)
	s.exactlyOnce("analytics", 20)
	stop(t, ingest)
	again := s.run("ingest", "KAFKA_GROUP_ID="+s.name+"-again")
	s.eventually(func() bool { return s.metric(again, `fanout_workflows_started_total{result="duplicate"}`) == 20 }, "20 duplicates")
	s.publish(20, 1)
	s.exactlyOnce("analytics", 21)
}

// Two ingest processes share the topic. Partitions are rebalanced while starts are in flight.
func TestRebalance_LosesAndDuplicatesNoEvent(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	first := s.run("ingest")
	s.publish(0, 100)
	s.waitFor("analytics", hasEvents(10))
	second := s.run("ingest")
	s.publish(100, 100)
	s.waitFor("analytics", hasEvents(120))
	stop(t, first)
	s.publish(200, 50)
	s.exactlyOnce("analytics", 250)
	s.waitCommitted(250)
	stop(t, second)
}

// Both processes end with 0 within the limit.
func TestStop_SIGTERMUnderLoadLosesNoEvent(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: http.StatusOK, Delay: 50 * time.Millisecond}
	}}, oneTarget)
	worker, ingest := s.run("worker"), s.run("ingest")
	s.publish(0, 300)
	s.waitFor("analytics", hasEvents(30))
	for _, p := range []*devstack.Process{ingest, worker} {
		began := time.Now()
		require.NoError(t, p.Signal(syscall.SIGTERM))
		code, err := p.Wait(s.ctx)
		require.NoError(t, err)
		assert.Zero(t, code, p.Text())
		assert.Less(t, time.Since(began), 15*time.Second)
	}
	s.run("worker")
	s.run("ingest")
	s.exactlyOnce("analytics", 300)
	s.waitCommitted(300)
}

func TestKill_SIGKILLUnderLoadLosesNoEvent(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, analyticsAndNotification)
	worker, ingest := s.run("worker"), s.run("ingest")
	s.publish(0, 300)
	s.waitFor("analytics", hasEvents(20))
	ingest.Kill()
	ingest = s.run("ingest")
	s.waitFor("analytics", hasEvents(100))
	worker.Kill()
	s.waitFor("analytics", hasEvents(120)) // without a worker, because ingest makes the first attempts
	ingest.Kill()
	s.run("worker")
	s.run("ingest")
	s.atLeastOnce("analytics", 300)
	s.atLeastOnce("notification", 300)
	s.waitCommitted(300)
}

// The limit applies to the peak memory of each process.
func TestLoad_TenThousandEventsAreDeliveredOnceWithin150MB(t *testing.T) {
	const n, memoryLimit = 10_000, 150 << 20
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok, "compliance": ok}, threeTargets)
	for i := 0; i < n; i += 1000 {
		s.publish(i, 1000)
	}
	worker, ingest := s.run("worker"), s.run("ingest")
	for name := range s.targets {
		await.Equal(t, "events at "+name, n, s.targets[name].Events)
		s.exactlyOnce(name, n)
	}
	s.waitCommitted(n)
	for name, p := range map[string]*devstack.Process{"worker": worker, "ingest": ingest} {
		memory, err := p.RSS()
		require.NoError(t, err)
		t.Logf("%s: peak memory %d MB", name, memory.Peak>>20)
		assert.Less(t, memory.Peak, int64(memoryLimit), name)
	}
	assert.Empty(t, s.records())
}

// startGenesys starts a stand-in for Genesys that returns the connection details of the stack's Kafka.
func (s *stack) startGenesys() *devstack.Genesys {
	s.t.Helper()
	g, err := devstack.StartGenesys(s.ctx, devstack.GenesysOptions{Details: devstack.DetailsOf(s.kafka, s.name)})
	require.NoError(s.t, err)
	s.t.Cleanup(g.Close)
	return g
}

// genesysSettings returns the settings of an ingest that reads the connection details from Genesys.
func (s *stack) genesysSettings(g *devstack.Genesys) []string {
	return []string{
		"KAFKA_BOOTSTRAP_SERVERS=", "KAFKA_SASL_USERNAME=", "KAFKA_SASL_PASSWORD=", "KAFKA_TOPIC=",
		"GENESYS_API_URL=" + g.URL(), "GENESYS_TOKEN_URL=" + g.TokenURL(),
		"GENESYS_CLIENT_ID=" + g.ClientID(), "GENESYS_CLIENT_SECRET=" + g.ClientSecret(),
	}
}

// If the server accepts only few requests per second, ingest keeps few starts in flight, and still
// starts all runs.
func TestConcurrency_ThrottledTemporalLimitsStartsInFlight(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	temporal, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{DynamicConfig: []string{"frontend.namespaceRPS=60", "frontend.namespaceBurstRatio=1.0"}})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publish(0, 600)
	maxInFlight := 0.0
	s.eventually(func() bool {
		maxInFlight = max(maxInFlight, s.metric(ingest, "fanout_starts_in_flight"))
		return s.targets["analytics"].Events() == 600
	}, "every event arrives")
	s.exactlyOnce("analytics", 600)
	assert.Less(t, maxInFlight, 64.0, "FANOUT_MAX_STARTS allows 256")
	s.waitCommitted(600)
}

// A delivery that was in flight when Temporal was killed must not be repeated, even if another process
// gets the lost workflow task.
func TestTemporalOutage_UnderLoadEventsAreDeliveredOnce(t *testing.T) {
	t.Parallel()
	temporal := ownTemporal(t)
	slow := func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: http.StatusOK, Delay: 200 * time.Millisecond}
	}
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": slow, "notification": ok}, analyticsAndNotification)
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 400)
	s.waitFor("analytics", hasEvents(50))
	temporal.Kill()
	// The outage must last longer than the timeout of a workflow task (10 s), and longer than the SDK
	// retries the completion of the task.
	_, err := worker.WaitLine(s.ctx, "for=3")
	require.NoError(t, err)
	require.NoError(t, temporal.Start(s.ctx))
	s.exactlyOnce("analytics", 400)
	s.exactlyOnce("notification", 400)
	s.waitCommitted(400)
}
