package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// genesysTopic is a topic of events in Genesys Cloud.
const genesysTopic = "v2.detail.events.conversation.{id}.customer.start"

// preflight runs a binary with --preflight. It returns the exit status, the lines by the name of their
// check, and the whole output.
func (s *stack) preflight(binary string, env ...string) (code int, lines map[string]string, text string) {
	s.t.Helper()
	began := time.Now()
	code, text = s.runToEnd(binary, []string{"--preflight"}, s.env(env...))
	assert.Less(s.t, time.Since(began), 30*time.Second)
	lines = make(map[string]string)
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line[min(9, len(line)):], ": "); ok {
			lines[name] = strings.TrimSpace(line)
		}
	}
	return code, lines, text
}

// closedPort returns an address on which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	port, err := devstack.FreePort(t.Context())
	require.NoError(t, err)
	return devstack.Loopback(port)
}

// The preflight prints a line for each check, in order, and exits with 0.
func TestPreflight_AllChecksPass(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "crm": ok}, `
  - {name: analytics, url: '$ANALYTICS'}
  - {name: crm, url: '$CRM'}
  - {name: old, url: 'http://nowhere.invalid', state: retired}
`)
	g, err := devstack.StartGenesys(s.ctx, devstack.GenesysOptions{
		Details:      devstack.DetailsOf(s.kafka, s.name),
		Integrations: []devstack.Integration{{Name: "events", Account: "123456789012", Region: "eu-west-1", Suffix: "fanout", Topics: []string{genesysTopic}}},
	})
	require.NoError(t, err)
	t.Cleanup(g.Close)
	s.publish(0, 3)
	fromGenesys := append(s.genesysSettings(g), "GENESYS_INTEGRATION_CHECK=true")
	targets := []string{"ok target analytics: connected to ", "ok target crm: connected to ", "skipped target old: retired"}
	temporal := []string{`ok temporal: ` + s.temporal.Address() + ` answers for namespace "default", which keeps closed runs for 1 day`, "ok search attributes: "}
	kafka := []string{
		"ok kafka broker " + s.kafka.Bootstrap() + ": connected to " + s.kafka.Bootstrap() + ", TLS 1.3, certificate valid until 20",
		`ok kafka authentication: SASL_SSL as "fanout" with SCRAM-SHA-512`,
		"ok kafka topic " + s.name + ": partitions: 4",
		"ok kafka group " + s.name + ": members: 0, messages to read: 3 (nothing is committed yet: ",
	}
	retention := "warning retention " + s.name + ": the topic keeps messages for 7 days, but the namespace keeps closed runs for 1 day"
	genesys := []string{
		"ok genesys token: issued to client " + g.ClientID(),
		"ok genesys connection details: brokers " + s.kafka.Bootstrap() + ", topics " + s.name,
		"ok genesys integration events: intended ENABLED, reported ACTIVE, account 123456789012, region eu-west-1, suffix fanout, 1 topics: " + genesysTopic,
		"ok genesys topics: ",
	}
	ingest := slices.Concat(kafka, temporal, []string{retention})
	for name, test := range map[string]struct {
		binary string
		env    []string
		want   []string
	}{
		"worker":                              {"worker", nil, slices.Concat(temporal, []string{"ok dead letters: "}, targets)},
		"worker without a tracker":            {"worker", []string{"FANOUT_DEAD_LETTERS=off"}, slices.Concat(temporal, targets)},
		"ingest":                              {"ingest", nil, slices.Concat(ingest, targets)},
		"ingest without eager start":          {"ingest", []string{"FANOUT_EAGER_START=false"}, ingest},
		"ingest with Genesys":                 {"ingest", fromGenesys, slices.Concat(genesys, ingest, targets)},
		"ingest with Genesys and own brokers": {"ingest", slices.Concat(fromGenesys, s.kafka.Settings(s.name, s.name)), slices.Concat(genesys[2:], ingest, targets)},
	} {
		code, _, text := s.preflight(test.binary, test.env...)
		assert.Zero(t, code, "%s: %s", name, text)
		lines := strings.Split(text, "\n")
		require.Len(t, lines, len(test.want), "%s: %s", name, text)
		for i, want := range test.want {
			assert.True(t, strings.HasPrefix(strings.Join(strings.Fields(lines[i]), " "), want), "%s: %s\nwants %s", name, lines[i], want)
		}
		assert.NotContains(t, text, s.kafka.Password())
		assert.NotContains(t, text, g.ClientSecret())
	}
	s.assertUnchanged()
}

// assertUnchanged asserts that the preflights so far have changed nothing.
func (s *stack) assertUnchanged() {
	s.t.Helper()
	members, err := s.kafka.Members(s.ctx, s.name)
	require.NoError(s.t, err)
	assert.Zero(s.t, members)
	committed, err := s.kafka.Committed(s.ctx, s.name)
	require.NoError(s.t, err)
	assert.Empty(s.t, committed)
	_, err = os.Stat(s.deadLetters())
	require.ErrorIs(s.t, err, os.ErrNotExist)
	for name, target := range s.targets {
		assert.Zero(s.t, target.Count(), name)
	}
}

// One check fails. Its line must say what is wrong and how to cure it. The checks that depend on it are
// skipped, and the exit status is 1.
func TestPreflight_NamesTheFailedCheckAndTheCure(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, `
  - {name: analytics, url: 'http://127.0.0.1:1', state: retired}
`)
	g := s.startGenesys()
	broker := func(certificate devstack.Certificate) *devstack.Kafka {
		kafka, err := devstack.StartKafka(s.ctx, devstack.KafkaOptions{Backend: devstack.BackendKfake, Dir: t.TempDir(), Certificate: certificate})
		require.NoError(t, err)
		t.Cleanup(kafka.Close)
		return kafka
	}
	expired, other := broker(devstack.CertificateExpired), broker(devstack.CertificateOtherHost)
	closed := closedPort(t)
	file := filepath.Join(s.dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, test := range map[string]struct {
		binary string
		env    []string
		line   string
		says   []string
		skips  []string
	}{
		"closed port":  {"ingest", []string{"KAFKA_BOOTSTRAP_SERVERS=" + closed}, "kafka broker " + closed, []string{"connection refused", "KAFKA_BOOTSTRAP_SERVERS"}, []string{"kafka authentication", "kafka topic", "kafka group", "retention"}},
		"no such host": {"ingest", []string{"KAFKA_BOOTSTRAP_SERVERS=broker.invalid:9094"}, "kafka broker broker.invalid:9094", []string{"broker.invalid", "DNS", "KAFKA_BOOTSTRAP_SERVERS"}, []string{"kafka authentication"}},
		"one of two":   {"ingest", []string{"KAFKA_BOOTSTRAP_SERVERS=" + closed + "," + s.kafka.Bootstrap()}, "kafka broker " + closed, []string{"connection refused"}, nil},
		"wrong CA":     {"ingest", []string{"KAFKA_SSL_CA_LOCATION=" + expired.CAFile()}, "kafka broker " + s.kafka.Bootstrap(), []string{"signed by unknown authority", "KAFKA_SSL_CA_LOCATION"}, []string{"kafka authentication"}},
		"no CA":        {"ingest", []string{"KAFKA_SSL_CA_LOCATION="}, "kafka broker " + s.kafka.Bootstrap(), []string{"signed by unknown authority", "KAFKA_SSL_CA_LOCATION"}, []string{"kafka authentication"}},
		"expired":      {"ingest", expired.Settings(s.name, s.name), "kafka broker " + expired.Bootstrap(), []string{"certificate has expired", "is after", "must be renewed"}, []string{"kafka authentication"}},
		"other host":   {"ingest", other.Settings(s.name, s.name), "kafka broker " + other.Bootstrap(), []string{"certificate", "127.0.0.1", "KAFKA_BOOTSTRAP_SERVERS"}, []string{"kafka authentication"}},
		"no TLS there": {"ingest", []string{"KAFKA_BOOTSTRAP_SERVERS=" + strings.TrimPrefix(g.URL(), "http://")}, "kafka broker " + strings.TrimPrefix(g.URL(), "http://"), []string{"TLS", "KAFKA_SECURITY_PROTOCOL"}, []string{"kafka authentication"}},

		"SASL password": {"ingest", []string{"KAFKA_SASL_PASSWORD=hush-wrong"}, "kafka authentication", []string{`"fanout" with SCRAM-SHA-512`, "uthentication failed", "KAFKA_SASL_PASSWORD", "port"}, []string{"kafka topic", "kafka group", "retention"}},
		"SASL user":     {"ingest", []string{"KAFKA_SASL_USERNAME=nobody"}, "kafka authentication", []string{`"nobody"`, "KAFKA_SASL_USERNAME"}, []string{"kafka topic"}},
		"topic":         {"ingest", []string{"KAFKA_TOPIC=no-such-topic"}, "kafka topic no-such-topic", []string{"there is no such topic", "create the topic or correct KAFKA_TOPIC"}, []string{"kafka group", "retention"}},
		"one topic":     {"ingest", []string{"KAFKA_TOPIC=no-such-topic," + s.name}, "kafka topic no-such-topic", []string{"there is no such topic"}, nil},

		"namespace of ingest": {"ingest", []string{"TEMPORAL_NAMESPACE=nowhere"}, "temporal", []string{`"nowhere"`, "NotFound", "TEMPORAL_NAMESPACE"}, []string{"search attributes", "retention"}},
		"namespace of worker": {"worker", []string{"TEMPORAL_NAMESPACE=nowhere"}, "temporal", []string{`"nowhere"`, "NotFound", "TEMPORAL_NAMESPACE"}, []string{"search attributes"}},
		"Temporal's port":     {"worker", []string{"TEMPORAL_ADDRESS=" + closed}, "temporal", []string{"connection refused", "TEMPORAL_ADDRESS"}, []string{"search attributes"}},
		"Temporal's host":     {"worker", []string{"TEMPORAL_ADDRESS=temporal.invalid:7233"}, "temporal", []string{"temporal.invalid", "TEMPORAL_ADDRESS", "DNS"}, []string{"search attributes"}},
		"no TLS at Temporal":  {"worker", []string{"TEMPORAL_TLS=true"}, "temporal", []string{"TLS", "TEMPORAL_TLS"}, []string{"search attributes"}},
		"not a directory":     {"worker", []string{"FANOUT_DEAD_LETTERS=" + file}, "dead letters", []string{file, "FANOUT_DEAD_LETTERS", "off"}, nil},
		"nor one to be made":  {"worker", []string{"FANOUT_DEAD_LETTERS=" + file + "/a/b"}, "dead letters", []string{file, "FANOUT_DEAD_LETTERS"}, nil},

		"Genesys' secret":       {"ingest", append(s.genesysSettings(g), "GENESYS_CLIENT_SECRET=hush-secret"), "genesys token", []string{"POST /oauth/token", "401", "invalid_client", "GENESYS_CLIENT_SECRET", "region"}, []string{"genesys connection details", "kafka broker", "kafka group"}},
		"Genesys' host":         {"ingest", append(s.genesysSettings(g), "GENESYS_API_URL=https://api.nowhere.invalid", "GENESYS_TOKEN_URL="), "genesys token", []string{"POST /oauth/token", "login.nowhere.invalid", "region", "GENESYS_API_URL"}, []string{"genesys connection details"}},
		"API of nowhere":        {"ingest", append(s.genesysSettings(g), "GENESYS_API_URL=https://api.nowhere.invalid"), "genesys connection details", []string{"GET /api/v2/eventbridge", "api.nowhere.invalid", "region", "GENESYS_API_URL"}, []string{"kafka broker"}},
		"API of another region": {"ingest", append(s.genesysSettings(g), "GENESYS_API_URL="+s.startGenesys().URL()), "genesys connection details", []string{"GET /api/v2/eventbridge", "401", "region", "GENESYS_API_URL"}, []string{"kafka broker"}},
		"token of another":      {"ingest", append(s.genesysSettings(g), "GENESYS_TOKEN_URL="+s.startGenesys().TokenURL()), "genesys token", []string{"POST /oauth/token", "401", "region"}, []string{"genesys connection details"}},
		"path":                  {"ingest", append(s.genesysSettings(g), "GENESYS_EVENTBRIDGE_PATH=/api/v2/nothing"), "genesys connection details", []string{"GET /api/v2/nothing", "404", "GENESYS_EVENTBRIDGE_PATH", "KAFKA_BOOTSTRAP_SERVERS"}, []string{"kafka broker"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			code, lines, text := s.preflight(test.binary, test.env...)
			assert.Equal(t, 1, code, text)
			line := lines[test.line]
			assert.True(t, strings.HasPrefix(line, "failed "), text)
			what, cure, _ := strings.Cut(line, "; ")
			assert.NotEmpty(t, what)
			assert.NotEmpty(t, cure, line)
			for _, part := range test.says {
				assert.Contains(t, line, part)
			}
			for _, skipped := range test.skips {
				assert.Contains(t, lines[skipped], "waits for ", text)
			}
			assert.Equal(t, 1, strings.Count(text, "\nfailed ")+strings.Count(text[:7], "failed "), text)
			assert.Equal(t, len(test.skips) > 0, strings.Contains(text, "waits for "), text)
			assert.Contains(t, text, test.binary+": preflight: 1 of ")
			assert.NotContains(t, text, "hush-")
			assert.NotContains(t, text, s.kafka.Password())
			assert.NotContains(t, text, g.ClientSecret())
		})
	}
	s.assertUnchanged()
}
