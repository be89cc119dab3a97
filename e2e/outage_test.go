package e2e

import (
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

const oneTarget = "  - {name: analytics, url: $ANALYTICS}\n"

// TestTemporalAwayAndBack: nothing is committed that Temporal does not hold, and
// both processes go on by themselves.
func TestTemporalAwayAndBack(t *testing.T) {
	temporal, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{DBFile: filepath.Join(t.TempDir(), "temporal.db")})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
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
	assert.EqualValues(t, 10, s.committed(), "what Temporal does not hold is not committed")

	require.NoError(t, temporal.Start(s.ctx))
	require.NoError(t, worker.WaitReady(s.ctx))
	require.NoError(t, ingest.WaitReady(s.ctx))
	s.exactlyOnce("analytics", 30)
	s.waitCommitted(30)
}

// TestKafkaAwayAndBack: readiness follows, and the consumer goes on by itself.
func TestKafkaAwayAndBack(t *testing.T) {
	kafka, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
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

// TestCredentialsRotate: the connection details are read again, and the
// consumer is built anew.
func TestCredentialsRotate(t *testing.T) {
	kafka, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
	s := newStackOn(t, shared.temporal, kafka, targetScripts{"analytics": ok}, oneTarget)
	genesys := s.genesys()
	s.run("worker")
	ingest := s.run("ingest", s.fromGenesys(genesys)...)
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

// TestRedeliveredMessagesAreDropped: another group reads all again.
func TestRedeliveredMessagesAreDropped(t *testing.T) {
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

// TestTwoIngestsShareTheTopic: a rebalance in the midst of starts loses nothing.
func TestTwoIngestsShareTheTopic(t *testing.T) {
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

// TestStopsCleanly: SIGTERM under load ends both with 0 in time, and what was
// consumed is committed.
func TestStopsCleanly(t *testing.T) {
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

// TestKilledProcesses: kill -9 under load loses nothing.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION}
`)
	worker, ingest := s.run("worker"), s.run("ingest")
	s.publish(0, 300)
	s.waitFor("analytics", hasEvents(20))
	ingest.Kill()
	ingest = s.run("ingest")
	s.waitFor("analytics", hasEvents(100))
	worker.Kill()
	s.waitFor("analytics", hasEvents(120)) // ingest makes first attempts without it
	ingest.Kill()
	s.run("worker")
	s.run("ingest")
	s.atLeastOnce("analytics", 300)
	s.atLeastOnce("notification", 300)
	s.waitCommitted(300)
}

// TestTenThousandEvents: nothing lost, nothing twice, and both processes small.
func TestTenThousandEvents(t *testing.T) {
	const n, most = 10_000, 150 << 20
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
		t.Logf("%s: %d MB at most", name, memory.Peak>>20)
		assert.Less(t, memory.Peak, int64(most), name)
	}
	assert.Empty(t, s.records())
}

func (s *stack) genesys() *devstack.Genesys {
	s.t.Helper()
	g, err := devstack.StartGenesys(s.ctx, devstack.GenesysOptions{Details: devstack.DetailsOf(s.kafka, s.name)})
	require.NoError(s.t, err)
	s.t.Cleanup(g.Close)
	return g
}

// fromGenesys are the settings of an ingest that asks the Genesys API.
func (s *stack) fromGenesys(g *devstack.Genesys) []string {
	return []string{
		"KAFKA_BOOTSTRAP_SERVERS=", "KAFKA_SASL_USERNAME=", "KAFKA_SASL_PASSWORD=", "KAFKA_TOPIC=",
		"GENESYS_API_URL=" + g.URL(), "GENESYS_TOKEN_URL=" + g.TokenURL(),
		"GENESYS_CLIENT_ID=" + g.ClientID(), "GENESYS_CLIENT_SECRET=" + g.ClientSecret(),
	}
}

// TestABusyTemporal: a server that takes few requests a second is not drowned in
// starts, and gets all of them.
func TestABusyTemporal(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	temporal, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{DynamicConfig: []string{"frontend.namespaceRPS=60", "frontend.namespaceBurstRatio=1.0"}})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	s.publish(0, 600)
	most := 0.0
	s.eventually(func() bool {
		most = max(most, s.metric(ingest, "fanout_starts_in_flight"))
		return s.targets["analytics"].Events() == 600
	}, "every event arrives")
	s.exactlyOnce("analytics", 600)
	assert.Less(t, most, 64.0, "of 256 that are allowed")
	s.waitCommitted(600)
}

// TestTemporalKilledUnderLoad: what was being delivered when Temporal went away
// arrives once, whichever process gets the task that was lost.
func TestTemporalKilledUnderLoad(t *testing.T) {
	t.Parallel()
	temporal, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{DBFile: filepath.Join(t.TempDir(), "temporal.db")})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	slow := func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: http.StatusOK, Delay: 200 * time.Millisecond}
	}
	s := newStackOn(t, temporal, shared.kafka, targetScripts{"analytics": slow, "notification": ok}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION}
`)
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 400)
	s.waitFor("analytics", hasEvents(50))
	temporal.Kill()
	// Longer than a workflow task may take (10 s) and than the SDK repeats its answer.
	_, err = worker.WaitLine(s.ctx, "for=3")
	require.NoError(t, err)
	require.NoError(t, temporal.Start(s.ctx))
	s.exactlyOnce("analytics", 400)
	s.exactlyOnce("notification", 400)
	s.waitCommitted(400)
}
