package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// waitEnd waits for the end of a process and returns its exit status and its output.
func (s *stack) waitEnd(p *devstack.Process) (int, string) {
	s.t.Helper()
	code, err := p.Wait(s.ctx)
	require.NoError(s.t, err)
	return code, p.Text()
}

const secretTargets = `
  - {name: analytics, url: '$ANALYTICS/?key=hush-query', headers: {Authorization: "Bearer ${TOKEN}"}}
`

// runToEnd runs a binary with arguments to its end.
func (s *stack) runToEnd(binary string, args, env []string) (int, string) {
	s.t.Helper()
	p, err := devstack.StartProcess(s.ctx, devstack.ProcessOptions{Path: filepath.Join(shared.bin, binary), Args: args, Dir: s.dir, Env: env})
	require.NoError(s.t, err)
	s.t.Cleanup(p.Close)
	return s.waitEnd(p)
}

func TestSettings_HelpAndVersion(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, unreachableTarget)
	both := []string{
		"--targets=", "FANOUT_TARGETS", "targets.yaml", "--task-queue=", "FANOUT_TASK_QUEUE", "genesys-fanout", "--http-addr=", "FANOUT_HTTP_ADDR",
		"--log-level=", "FANOUT_LOG_LEVEL", "--log-format=", "FANOUT_LOG_FORMAT", "--check", "--preflight", "--json", "TEMPORAL_ADDRESS", "TEMPORAL_API_KEY_FILE",
	}
	for binary, own := range map[string][]string{
		"worker": {`--dead-letters="./dead-letters"`, "FANOUT_DEAD_LETTERS", "127.0.0.1:9464"},
		"ingest": {
			`--max-starts="256"`, "FANOUT_MAX_STARTS", `--event-id="event.id"`, "FANOUT_EVENT_ID", `--genesys-api-url="https://api.mypurecloud.com"`, "GENESYS_API_URL",
			`--genesys-eventbridge-path="/api/v2/eventbridge"`, "GENESYS_EVENTBRIDGE_PATH", "GENESYS_CLIENT_SECRET_FILE", "GENESYS_INTEGRATION_CHECK", "KAFKA_SASL_PASSWORD_FILE",
			`--kafka-group-id="genesys-fanout-processor"`, "KAFKA_GROUP_ID", "KAFKA_OPTIONS_FILE", "127.0.0.1:9465",
		},
	} {
		code, text := s.runToEnd(binary, []string{"--help"}, nil)
		assert.Zero(t, code, text)
		for _, part := range append(own, both...) {
			assert.Contains(t, text, part, binary)
		}
		code, text = s.runToEnd(binary, []string{"--version"}, nil)
		assert.Zero(t, code, text)
		assert.Regexp(t, "^"+binary+` \S+ \(go1\.[^)]*Temporal SDK v[^)]+\)$`, text)
	}
}

// forbiddenAddress returns an address that fails the test if a process connects to it.
func forbiddenAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Errorf("a connection to %s", listener.Addr())
			_ = connection.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}

// --check connects to nothing, does not require the settings of the other process, and shows no secret.
func TestCheck_PrintsSettingsWithoutSecretsOrConnections(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, secretTargets+`
  - {name: notification, url: 'http://user:hush-url@127.0.0.1:1/api'}
`)
	nobody := forbiddenAddress(t)
	for name, test := range map[string]struct {
		binary string
		env    []string
	}{
		"worker": {"worker", []string{"FANOUT_MAX_STARTS=ingest's", "KAFKA_SECURITY_PROTOCOL=ingest's", "GENESYS_API_URL=ingest's"}},
		"ingest": {"ingest", []string{"KAFKA_BOOTSTRAP_SERVERS=" + nobody, "KAFKA_SASL_PASSWORD=hush-sasl", "FANOUT_DEAD_LETTERS=/no/such/folder"}},
		"ingest with Genesys": {"ingest", []string{
			"KAFKA_BOOTSTRAP_SERVERS=", "KAFKA_SASL_PASSWORD=", "GENESYS_API_URL=http://" + nobody,
			"GENESYS_TOKEN_URL=http://" + nobody, "GENESYS_CLIENT_ID=client", "GENESYS_CLIENT_SECRET=hush-secret",
		}},
	} {
		env := append(s.env("TOKEN=hush-token", "TEMPORAL_ADDRESS="+nobody, "TEMPORAL_API_KEY=hush-api-key"), test.env...)
		code, text := s.runToEnd(test.binary, []string{"--check"}, env)
		assert.Zero(t, code, "%s: %s", name, text)
		assert.Contains(t, text, "analytics")
		assert.Contains(t, text, s.targets["analytics"].URL())
		assert.Contains(t, text, "@127.0.0.1:1/api")
		assert.NotContains(t, text, "hush-", name)
		assert.Contains(t, text, "\nwarning: "+s.targetsFile()+":2:5: targets[0].retry_statuses: contains no 5xx status", name)
	}
}

// The process reports the invalid keys of targets.yaml in the same way, and exits with 2.
func TestSettings_EveryInvalidSettingIsReportedOnItsOwnLine(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, `
  - {name: Analytics, url: ftp://a, timeout: 5, colour: red, headers: {X-Delivery-Attempt: 1, Authorization: '${MISSING}'}}
`)
	file := s.targetsFile()
	for binary, want := range map[string][]string{
		"worker": {
			"FANOUT_LOG_LEVEL: ", "FANOUT_PAYLOAD_KEYS: ", "FANOUT_TAGRETS: ",
			file + ":2:", "targets[0].name", "targets[0].url", "targets[0].timeout", "targets[0].colour", "targets[0].headers.X-Delivery-Attempt", "MISSING",
		},
		"ingest": {
			"FANOUT_LOG_LEVEL: ", "FANOUT_EAGER_START: ", "FANOUT_MAX_STARTS: ", "FANOUT_EVENT_ID: line 1, column 6: undefined field 'idd'; ", "KAFKA_SECURITY_PROTOCOL: ", "KAFKA_AUTO_OFFSET_RESET: ",
			"KAFKA_SSL_CA_LOCATION: ", "KAFKA_OPTIONS: ", "KAFKA_BOOTSTRAP_SERVERS: ", file + ":2:",
		},
	} {
		p := s.start(binary, "FANOUT_LOG_LEVEL=loud", "FANOUT_EAGER_START=maybe", "FANOUT_PAYLOAD_KEYS=hush-key", "FANOUT_TAGRETS=x", "FANOUT_MAX_STARTS=-1", "FANOUT_EVENT_ID=event.idd",
			"KAFKA_SECURITY_PROTOCOL=TLS", "KAFKA_AUTO_OFFSET_RESET=now", "KAFKA_SSL_CA_LOCATION=/no/such/file", "KAFKA_OPTIONS=group.id=x", "KAFKA_BOOTSTRAP_SERVERS=nowhere")
		code, text := s.waitEnd(p)
		assert.Equal(t, 2, code, text)
		for _, part := range want {
			assert.Contains(t, text, part, binary)
		}
		for line := range strings.Lines(text) {
			assert.Regexp(t, `^([A-Z_]+|\S+targets\.yaml:\d+:\d+: targets\[0\]\.[A-Za-z.-]+): .+; .+`, line, "the line says what is wrong, and after a semicolon how to cure it")
		}
		assert.Contains(t, text, "FANOUT_PAYLOAD_KEYS: is not supported by this version; unset it\n")
		assert.NotContains(t, text, "hush-")
	}
}

// serviceLinks are the environment variables that Kubernetes sets in every container of a namespace
// that has Services named fanout and fanout-worker, the second with a named port.
var serviceLinks = []string{
	"FANOUT_SERVICE_HOST=10.96.0.10", "FANOUT_SERVICE_PORT=9465", "FANOUT_PORT=tcp://10.96.0.10:9465",
	"FANOUT_PORT_9465_TCP=tcp://10.96.0.10:9465", "FANOUT_PORT_9465_TCP_PROTO=tcp", "FANOUT_PORT_9465_TCP_PORT=9465", "FANOUT_PORT_9465_TCP_ADDR=10.96.0.10",
	"FANOUT_WORKER_SERVICE_HOST=10.96.0.11", "FANOUT_WORKER_SERVICE_PORT=9464", "FANOUT_WORKER_SERVICE_PORT_HTTP_METRICS=9464", "FANOUT_WORKER_PORT=tcp://10.96.0.11:9464",
	"FANOUT_WORKER_PORT_9464_TCP=tcp://10.96.0.11:9464", "FANOUT_WORKER_PORT_9464_TCP_PROTO=tcp", "FANOUT_WORKER_PORT_9464_TCP_PORT=9464", "FANOUT_WORKER_PORT_9464_TCP_ADDR=10.96.0.11",
}

// Other unknown names that begin with FANOUT_ are still invalid.
func TestSettings_KubernetesServiceLinksAreIgnored(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker", serviceLinks...)
	s.run("ingest", serviceLinks...)
	s.publish(0, 1)
	s.exactlyOnce("analytics", 1)
	code, text := s.runToEnd("deadletter", []string{"list"}, s.env(serviceLinks...))
	assert.Zero(t, code, text)
	for _, binary := range []string{"worker", "ingest", "deadletter"} {
		args := []string{"--check"}
		if binary == "deadletter" {
			args = []string{"list"}
		}
		code, text := s.runToEnd(binary, args, s.env(append([]string{"FANOUT_TARGET=typo.yaml", "FANOUT_WORKER_SERVICE=x"}, serviceLinks...)...))
		assert.Equal(t, 2, code, text)
		assert.Equal(t, "FANOUT_TARGET: is not a setting; correct the name or unset it; --help lists the settings\n"+
			"FANOUT_WORKER_SERVICE: is not a setting; correct the name or unset it; --help lists the settings", text, binary)
	}
}

// The message is the same for a setting and for a header.
func TestSettings_SecretInBothVariableAndFileIsInvalid(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, secretTargets)
	file := filepath.Join(s.dir, "secret")
	require.NoError(t, os.WriteFile(file, []byte("hush-file\n"), 0o600))
	twice := []string{"TOKEN=hush-token", "TOKEN_FILE=" + file, "KAFKA_SASL_PASSWORD_FILE=" + file}
	code, text := s.runToEnd("worker", []string{"--check"}, s.env(twice...))
	assert.Equal(t, 2, code, text)
	assert.Regexp(t, `^\S+/targets\.yaml:2:\d+: targets\[0\]\.headers\.Authorization: TOKEN is set, and so is TOKEN_FILE; set one of the two$`, text)
	code, text = s.runToEnd("ingest", []string{"--check"}, s.env(twice...))
	assert.Equal(t, 2, code, text)
	assert.Contains(t, text, "KAFKA_SASL_PASSWORD: is set, and so is KAFKA_SASL_PASSWORD_FILE; set one of the two\n")
	assert.Contains(t, text, "targets[0].headers.Authorization: TOKEN is set, and so is TOKEN_FILE; set one of the two")
	assert.NotContains(t, text, "hush")
}

func TestSecrets_FromFilesAreNeverShown(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": answers(http.StatusForbidden)}, secretTargets)
	genesys := s.startGenesys()
	file := func(name, secret string) string {
		path := filepath.Join(s.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
		return path
	}
	worker := s.run("worker", "TOKEN_FILE="+file("token", "hush-token"), "FANOUT_LOG_LEVEL=debug")
	ingest := s.run("ingest", append(s.genesysSettings(genesys), "GENESYS_CLIENT_SECRET=",
		"GENESYS_CLIENT_SECRET_FILE="+file("client-secret", genesys.ClientSecret()), "TOKEN=hush-token", "FANOUT_LOG_LEVEL=debug", "OTEL_SERVICE_NAME=x", "OTEL_EXPORTER_OTLP_HEADERS=key=hush-otel")...)
	s.publish(0, 1)
	record := s.record("analytics", s.id(0))
	stop(t, ingest)
	stop(t, worker)
	for _, secret := range []string{"hush-token", "hush-query", genesys.ClientSecret(), s.kafka.Password()} {
		assert.NotContains(t, worker.Text(), secret)
		assert.NotContains(t, ingest.Text(), secret)
		assert.NotContains(t, record.Error, secret)
	}
	assert.Contains(t, worker.Text(), "level=DEBUG")
	assert.Contains(t, ingest.Text(), `level=DEBUG msg="Genesys issued a token"`)
	assert.Equal(t, 1, strings.Count(ingest.Text(), "tracing is not supported"))
	assert.Contains(t, ingest.Text(), "OTEL_SERVICE_NAME")
	assert.NotContains(t, ingest.Text(), "hush-otel")
}

// Genesys issues a token, and then answers with an error that contains it, or with connection details
// that are incomplete but contain a password.
func TestSecrets_OfGenesysAnswersAreNeverShown(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, unreachableTarget)
	for _, answer := range []devstack.Failure{
		{Status: http.StatusForbidden, Body: `{"message":"no access for hush-access-token","code":"missing.permissions"}`},
		{Status: http.StatusOK, Body: `{"connectionDetails":{"bootstrapServers":"","saslUsername":"u","saslPassword":"hush-details"}}`},
	} {
		genesys := s.startGenesys()
		genesys.Fail(devstack.TokenPath, devstack.Failure{
			Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: `{"access_token":"hush-access-token","token_type":"bearer","expires_in":3600}`,
		})
		genesys.Fail(devstack.EventBridgePath, answer)
		code, text := s.waitEnd(s.start("ingest", append(s.genesysSettings(genesys), "FANOUT_LOG_LEVEL=debug")...))
		assert.Equal(t, 1, code, text)
		assert.Contains(t, text, "GET /api/v2/eventbridge")
		assert.NotContains(t, text, "hush-")
	}
}

// ingest ends with 1. Its output names the request and the cure.
func TestGenesys_RejectedRequestsEndIngestWithTheCure(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, unreachableTarget)
	for name, test := range map[string]struct {
		path    string
		failure devstack.Failure
		want    []string
	}{
		"401": {
			devstack.TokenPath,
			devstack.Failure{Status: 401, Body: `{"error":"invalid_client","description":"authentication failed"}`},
			[]string{"POST /oauth/token", "401", "invalid_client", "GENESYS_CLIENT_SECRET"},
		},
		"403": {
			devstack.EventBridgePath,
			devstack.Failure{Status: 403, Body: `{"message":"no","code":"missing.permissions","status":403,"contextId":"ctx-1"}`},
			[]string{"GET /api/v2/eventbridge", "403", "missing.permissions", "ctx-1", "role"},
		},
		"404": {
			devstack.EventBridgePath,
			devstack.Failure{Status: 404, Body: `{"message":"no","code":"not.found","status":404}`},
			[]string{"GET /api/v2/eventbridge", "404", "GENESYS_EVENTBRIDGE_PATH"},
		},
		"incomplete": {
			devstack.EventBridgePath,
			devstack.Failure{Status: 200, Body: `{"connectionDetails":{"bootstrapServers":"h:1","saslUsername":"u"}}`},
			[]string{"GET /api/v2/eventbridge", "saslPassword"},
		},
		"not JSON": {
			devstack.EventBridgePath,
			devstack.Failure{Status: 200, Body: `<html>`},
			[]string{"GET /api/v2/eventbridge", "JSON"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			genesys := s.startGenesys()
			test.failure.Header = http.Header{"ININ-Correlation-Id": {"corr-1"}}
			genesys.Fail(test.path, test.failure, test.failure, test.failure)
			began := time.Now()
			code, text := s.waitEnd(s.start("ingest", s.genesysSettings(genesys)...))
			assert.Equal(t, 1, code, text)
			assert.Less(t, time.Since(began), 20*time.Second)
			for _, part := range test.want {
				assert.Contains(t, text, part)
			}
			if test.failure.Status != http.StatusOK {
				assert.Contains(t, text, "correlation id corr-1")
			}
			assert.NotContains(t, text, genesys.ClientSecret())
		})
	}
}

// ingest does not end, and waits for as long as Retry-After says.
func TestGenesys_TransientErrorsAreRetried(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	genesys := s.startGenesys()
	genesys.Fail(devstack.TokenPath, devstack.Failure{Status: 503})
	genesys.Fail(devstack.EventBridgePath, devstack.Failure{Status: 429, Header: http.Header{"Retry-After": {"6"}}})
	s.run("worker")
	began := time.Now()
	s.run("ingest", s.genesysSettings(genesys)...)
	assert.GreaterOrEqual(t, time.Since(began), 6*time.Second, "Retry-After is longer than any backoff in this test")
	assert.Equal(t, 2, genesys.Calls(devstack.EventBridgePath), "one request was rejected, and the next one came after the wait")
	s.publish(0, 1)
	s.exactlyOnce("analytics", 1)
}

func TestKafka_WrongCredentialsEndIngest(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, unreachableTarget)
	began := time.Now()
	code, text := s.waitEnd(s.start("ingest", "KAFKA_SASL_PASSWORD=hush-wrong"))
	assert.Equal(t, 1, code, text)
	assert.Less(t, time.Since(began), 20*time.Second)
	for _, part := range []string{"SCRAM-SHA-512", s.kafka.Username(), s.kafka.Bootstrap(), "KAFKA_SASL_PASSWORD", "port"} {
		assert.Contains(t, text, part)
	}
	assert.NotContains(t, text, "hush-wrong")
}

func TestTemporal_UnreachableIsRetriedAndMissingNamespaceEndsTheProcess(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, unreachableTarget)
	for _, binary := range []string{"worker", "ingest"} {
		waiting := s.start(binary, "TEMPORAL_ADDRESS=127.0.0.1:1")
		require.NoError(t, waiting.WaitStatus(s.ctx, "/readyz", http.StatusServiceUnavailable))
		_, err := waiting.WaitLine(s.ctx, "waiting for Temporal")
		require.NoError(t, err)
		require.NoError(t, waiting.Signal(syscall.SIGTERM))
		code, text := s.waitEnd(waiting)
		assert.Zero(t, code, text)

		code, text = s.waitEnd(s.start(binary, "TEMPORAL_NAMESPACE=no-such-namespace"))
		assert.Equal(t, 1, code, text)
		assert.Contains(t, text, "TEMPORAL_NAMESPACE")
	}
}
