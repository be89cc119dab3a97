package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// ends runs a process to its end and returns its exit status and what it printed.
func (s *stack) ends(p *devstack.Process) (int, string) {
	s.t.Helper()
	code, err := p.Wait(s.ctx)
	require.NoError(s.t, err)
	return code, p.Text()
}

const secretTargets = `
  - {name: analytics, url: '$ANALYTICS/?key=hush-query', headers: {Authorization: "Bearer ${TOKEN}"}}
`

func TestCheckPrintsWhatWouldRun(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, secretTargets)
	for _, binary := range []string{"worker", "ingest"} {
		checked, err := devstack.StartProcess(s.ctx, devstack.ProcessOptions{
			Path: filepath.Join(shared.bin, binary), Args: []string{"--check"},
			Env: s.env("TOKEN=hush-token", "TEMPORAL_ADDRESS=127.0.0.1:1", "KAFKA_SASL_PASSWORD=hush-sasl"),
		})
		require.NoError(t, err)
		code, text := s.ends(checked)
		assert.Zero(t, code, text)
		assert.Contains(t, text, "analytics")
		assert.Contains(t, text, s.targets["analytics"].URL())
		assert.NotContains(t, text, "hush-")
	}
}

// TestWrongSettingsAreToldAtOnce: every wrong setting and every wrong line, one
// per line, with exit 2.
func TestWrongSettingsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, "  - {name: Analytics, url: ftp://a, timeout: 5, colour: red, headers: {X-Delivery-Attempt: 1, Authorization: '${MISSING}'}}\n")
	file := s.targetsFile()
	for binary, want := range map[string][]string{
		"worker": {
			"FANOUT_LOG_LEVEL: ", "FANOUT_EAGER_START: ", "FANOUT_PAYLOAD_KEYS: ", "FANOUT_TAGRETS: ",
			file + ":2:", "targets[0].name", "targets[0].url", "targets[0].timeout", "targets[0].colour", "targets[0].headers.X-Delivery-Attempt", "MISSING",
		},
		"ingest": {
			"FANOUT_LOG_LEVEL: ", "FANOUT_EAGER_START: ", "FANOUT_MAX_STARTS: ", "KAFKA_SECURITY_PROTOCOL: ", "KAFKA_AUTO_OFFSET_RESET: ",
			"KAFKA_SSL_CA_LOCATION: ", "KAFKA_OPTIONS: ", "KAFKA_BOOTSTRAP_SERVERS: ", file + ":2:",
		},
	} {
		p := s.start(binary, "FANOUT_LOG_LEVEL=loud", "FANOUT_EAGER_START=true", "FANOUT_PAYLOAD_KEYS=a:b", "FANOUT_TAGRETS=x", "FANOUT_MAX_STARTS=-1",
			"KAFKA_SECURITY_PROTOCOL=TLS", "KAFKA_AUTO_OFFSET_RESET=now", "KAFKA_SSL_CA_LOCATION=/no/such/file", "KAFKA_OPTIONS=group.id=x", "KAFKA_BOOTSTRAP_SERVERS=nowhere")
		code, text := s.ends(p)
		assert.Equal(t, 2, code, text)
		for _, part := range want {
			assert.Contains(t, text, part, binary)
		}
	}
}

func TestSecretsComeFromFilesAndAreNeverShown(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": status(http.StatusForbidden)}, secretTargets)
	genesys := s.genesys()
	file := func(name, secret string) string {
		path := filepath.Join(s.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
		return path
	}
	worker := s.run("worker", "TOKEN_FILE="+file("token", "hush-token"), "FANOUT_LOG_LEVEL=debug")
	ingest := s.run("ingest", append(s.fromGenesys(genesys), "GENESYS_CLIENT_SECRET=",
		"GENESYS_CLIENT_SECRET_FILE="+file("client-secret", genesys.ClientSecret()), "TOKEN=hush-token", "FANOUT_LOG_LEVEL=debug", "OTEL_SERVICE_NAME=x")...)
	s.publish(0, 1)
	record := s.record("analytics", s.id(0))
	stop(t, ingest)
	stop(t, worker)
	for _, secret := range []string{"hush-token", "hush-query", genesys.ClientSecret(), s.kafka.Password()} {
		assert.NotContains(t, worker.Text(), secret)
		assert.NotContains(t, ingest.Text(), secret)
		assert.NotContains(t, record.Error, secret)
	}
	assert.Contains(t, ingest.Text(), "OTEL_")
}

// TestGenesysRefusals: each ends ingest with 1, in time, with what was asked and the cure.
func TestGenesysRefusals(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, "  - {name: analytics, url: 'http://127.0.0.1:1'}\n")
	for name, test := range map[string]struct {
		path    string
		failure devstack.Failure
		want    []string
	}{
		"401": {devstack.TokenPath, devstack.Failure{Status: 401, Body: `{"error":"invalid_client","description":"authentication failed"}`},
			[]string{"POST /oauth/token", "401", "invalid_client", "GENESYS_CLIENT_SECRET"}},
		"403": {devstack.EventBridgePath, devstack.Failure{Status: 403, Body: `{"message":"no","code":"missing.permissions","status":403,"contextId":"ctx-1"}`},
			[]string{"GET /api/v2/eventbridge", "403", "missing.permissions", "ctx-1", "role"}},
		"404": {devstack.EventBridgePath, devstack.Failure{Status: 404, Body: `{"message":"no","code":"not.found","status":404}`},
			[]string{"GET /api/v2/eventbridge", "404", "GENESYS_EVENTBRIDGE_PATH"}},
		"incomplete": {devstack.EventBridgePath, devstack.Failure{Status: 200, Body: `{"connectionDetails":{"bootstrapServers":"h:1","saslUsername":"u"}}`},
			[]string{"GET /api/v2/eventbridge", "saslPassword"}},
		"not JSON": {devstack.EventBridgePath, devstack.Failure{Status: 200, Body: `<html>`},
			[]string{"GET /api/v2/eventbridge", "JSON"}},
	} {
		t.Run(name, func(t *testing.T) {
			genesys := s.genesys()
			genesys.Fail(test.path, test.failure, test.failure, test.failure)
			began := time.Now()
			code, text := s.ends(s.start("ingest", s.fromGenesys(genesys)...))
			assert.Equal(t, 1, code, text)
			assert.Less(t, time.Since(began), 20*time.Second)
			for _, part := range test.want {
				assert.Contains(t, text, part)
			}
			assert.NotContains(t, text, genesys.ClientSecret())
		})
	}
}

// TestGenesysIsWaitedFor: what may pass is no reason to end.
func TestGenesysIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	genesys := s.genesys()
	genesys.Fail(devstack.TokenPath, devstack.Failure{Status: 503})
	genesys.Fail(devstack.EventBridgePath, devstack.Failure{Status: 429, Header: http.Header{"Retry-After": {"2"}}})
	s.run("worker")
	s.run("ingest", s.fromGenesys(genesys)...)
	s.publish(0, 1)
	s.exactlyOnce("analytics", 1)
}

func TestKafkaRefusesTheCredentials(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, "  - {name: analytics, url: 'http://127.0.0.1:1'}\n")
	began := time.Now()
	code, text := s.ends(s.start("ingest", "KAFKA_SASL_PASSWORD=hush-wrong"))
	assert.Equal(t, 1, code, text)
	assert.Less(t, time.Since(began), 20*time.Second)
	for _, part := range []string{"SCRAM-SHA-512", s.kafka.Username(), s.kafka.Bootstrap(), "KAFKA_SASL_PASSWORD", "port"} {
		assert.Contains(t, text, part)
	}
	assert.NotContains(t, text, "hush-wrong")
}

func TestTemporalIsWaitedForOrRefuses(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, "  - {name: analytics, url: 'http://127.0.0.1:1'}\n")
	for _, binary := range []string{"worker", "ingest"} {
		waiting := s.start(binary, "TEMPORAL_ADDRESS=127.0.0.1:1")
		require.NoError(t, waiting.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
		_, err := waiting.WaitLine(s.ctx, "waiting for Temporal")
		require.NoError(t, err)
		require.NoError(t, waiting.Signal(syscall.SIGTERM))
		code, text := s.ends(waiting)
		assert.Zero(t, code, text)

		code, text = s.ends(s.start(binary, "TEMPORAL_NAMESPACE=no-such-namespace"))
		assert.Equal(t, 1, code, text)
		assert.Contains(t, text, "TEMPORAL_NAMESPACE")
	}
}
