package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// Each target that the process cannot reach has a line. ingest without eager start sends nothing to
// targets, so it does not check them.
func TestPreflight_UnreachableTargets(t *testing.T) {
	t.Parallel()
	closed := closedPort(t)
	s := newStack(t, targetScripts{"analytics": ok}, `
  - {name: analytics, url: '$ANALYTICS'}
  - {name: away, url: 'http://`+closed+`/?key=hush-query'}
  - {name: nowhere, url: 'https://user:hush-password@nowhere.invalid'}
  - {name: paused, url: 'http://`+closed+`', state: paused}
`)
	plain := strings.TrimPrefix(s.targets["analytics"].URL(), "http://")
	s.writeTargets(`
  - {name: analytics, url: '$ANALYTICS'}
  - {name: away, url: 'http://` + closed + `/?key=hush-query'}
  - {name: nowhere, url: 'https://user:hush-password@nowhere.invalid'}
  - {name: paused, url: 'http://` + closed + `', state: paused}
  - {name: plain, url: 'https://` + plain + `'}
`)
	for _, binary := range []string{"worker", "ingest"} {
		code, lines, text := s.preflight(binary)
		assert.Equal(t, 1, code, text)
		assert.Regexp(t, `^ok +target analytics: connected to `, lines["target analytics"])
		assert.Regexp(t, `^failed +target away: .*connection refused; .*url of away in FANOUT_TARGETS`, lines["target away"])
		assert.Regexp(t, `^failed +target nowhere: .*nowhere\.invalid.*; .*url of nowhere.*DNS`, lines["target nowhere"])
		assert.Regexp(t, `^warning +target paused: .*connection refused.*paused`, lines["target paused"])
		assert.Regexp(t, `^failed +target plain: TLS with .*; .*does not speak TLS`, lines["target plain"])
		assert.Contains(t, text, "failed: target away, target nowhere, target plain")
		assert.NotContains(t, text, "hush-")
		code, _, text = s.preflight(binary, "HTTP_PROXY=http://user:hush-proxy@"+closed, "HTTPS_PROXY=http://user:hush-proxy@"+closed)
		assert.Equal(t, 1, code, text)
		assert.NotContains(t, text, "hush-")
	}
	code, lines, text := s.preflight("ingest", "FANOUT_EAGER_START=false")
	assert.Zero(t, code, text)
	assert.NotContains(t, lines, "target away", "without eager start, ingest sends nothing to targets")
	s.assertUnchanged()
}

// The output is one array, also if a check fails. Invalid settings are reported before any check.
func TestPreflight_JSON(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	for name, test := range map[string]struct {
		binary string
		env    []string
		code   int
		want   map[string]string
	}{
		"well":   {"worker", nil, 0, map[string]string{"temporal": "ok", "search attributes": "ok", "dead letters": "ok", "target analytics": "ok"}},
		"broken": {"worker", []string{"TEMPORAL_NAMESPACE=nowhere"}, 1, map[string]string{"temporal": "failed", "search attributes": "skipped", "dead letters": "ok", "target analytics": "ok"}},
		"ingest": {"ingest", []string{"KAFKA_TOPIC=no-such-topic"}, 1, map[string]string{
			"kafka broker " + s.kafka.Bootstrap(): "ok", "kafka authentication": "ok", "kafka topic no-such-topic": "failed", "kafka group": "skipped",
			"temporal": "ok", "search attributes": "ok", "retention": "skipped", "target analytics": "ok",
		}},
	} {
		code, text := s.runToEnd(test.binary, []string{"--preflight", "--json"}, s.env(test.env...))
		assert.Equal(t, test.code, code, text)
		array, rest, _ := strings.Cut(text, "\n]")
		assert.Equal(t, test.code == 1, strings.Contains(rest, "preflight: 1 of "), text)
		decoder := json.NewDecoder(strings.NewReader(array + "]"))
		decoder.DisallowUnknownFields()
		var results []struct{ Check, Status, Detail, Cure string }
		require.NoError(t, decoder.Decode(&results), text)
		got := make(map[string]string)
		for _, r := range results {
			got[r.Check] = r.Status
			assert.NotEmpty(t, r.Detail, name)
			assert.Equal(t, r.Status == "failed", r.Cure != "", "%s: %v", name, r)
		}
		assert.Equal(t, test.want, got, name)
	}
	for _, args := range [][]string{{"--json"}, {"--preflight", "--check"}} {
		code, text := s.runToEnd("worker", args, s.env())
		assert.Equal(t, 2, code, text)
		assert.Contains(t, text, args[len(args)-1]+": ")
	}
	code, text := s.runToEnd("ingest", []string{"--preflight"}, s.env("KAFKA_SECURITY_PROTOCOL=TLS", "GENESYS_INTEGRATION_CHECK=true"))
	assert.Equal(t, 2, code, text)
	for _, name := range []string{"KAFKA_SECURITY_PROTOCOL: ", "GENESYS_CLIENT_ID: ", "GENESYS_CLIENT_SECRET: "} {
		assert.Contains(t, text, name)
	}
}

// The preflight shows which topics the organisation sends to Amazon EventBridge, and warns of topics
// that a target's `when` names but no integration sends.
func TestPreflight_GenesysIntegrations(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "crm": ok}, `
  - {name: analytics, url: '$ANALYTICS', when: 'event.type in ["`+genesysTopic+`", "conversation.started"] || event.type.startsWith("v2.detail.events.conversation.")'}
  - {name: crm, url: '$CRM', when: 'event.type == "v2.detail.events.user.presence" || !(event.type == "v2.detail.not.asked")'}
  - {name: old, url: '$CRM', when: 'event.type == "v2.detail.of.a.retired.one"', state: retired}
`)
	events := devstack.Integration{Name: "events", Account: "123456789012", Region: "eu-west-1", Suffix: "fanout", Topics: []string{genesysTopic}}
	off, broken, users := events, events, events
	off.Name, off.Intended, off.Reported = "off", "DISABLED", "INACTIVE"
	broken.Name, broken.Reported, broken.Message = "broken", "ERROR", "the event source is pending"
	users.Topics = append([]string{"v2.detail.events.user.presence"}, users.Topics...)
	for name, test := range map[string]struct {
		integrations []devstack.Integration
		failure      *devstack.Failure
		code         int
		want         map[string]string
	}{
		"all is sent": {[]devstack.Integration{users}, nil, 0, map[string]string{
			"genesys integration events": `^ok .*reported ACTIVE, account 123456789012, region eu-west-1, suffix fanout, 2 topics: v2\.`,
			"genesys topics":             `^ok `,
		}},
		"one is not": {[]devstack.Integration{events}, nil, 0, map[string]string{
			"genesys topics": `^warning +genesys topics: no integration sends v2\.detail\.events\.user\.presence \(crm\); add the topic `,
		}},
		"inactive": {[]devstack.Integration{off}, nil, 1, map[string]string{
			"genesys integration off": `^failed .*intended DISABLED, reported INACTIVE.*; switch the integration on`,
			"genesys topics":          `^skipped .*waits for genesys integration`,
		}},
		"in error": {[]devstack.Integration{broken}, nil, 1, map[string]string{
			"genesys integration broken": `^failed .*reported ERROR.*the event source is pending\); .*event source`,
		}},
		"one of two inactive": {[]devstack.Integration{off, users}, nil, 0, map[string]string{
			"genesys integration off": `^warning `, "genesys integration events": `^ok `, "genesys topics": `^ok `,
		}},
		"none": {[]devstack.Integration{{Name: "another", Type: "purecloud-data-actions"}}, nil, 1, map[string]string{
			"genesys integration": `^failed .*no integration of type amazon-eventbridge-source; add the integration`,
		}},
		"missing role": {nil, &devstack.Failure{Status: http.StatusForbidden, Body: `{"message":"no","code":"missing.permissions","status":403,"contextId":"ctx-1"}`}, 1, map[string]string{
			"genesys integration": `^failed .*GET /api/v2/integrations: status 403, code missing\.permissions.*ctx-1.*; .*role with the permission integrations:integration:view`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			g, err := devstack.StartGenesys(s.ctx, devstack.GenesysOptions{Details: devstack.DetailsOf(s.kafka, s.name), Integrations: test.integrations})
			require.NoError(t, err)
			t.Cleanup(g.Close)
			if test.failure != nil {
				g.Fail(devstack.IntegrationsPath, *test.failure)
			}
			code, lines, text := s.preflight("ingest", append(s.genesysSettings(g), "GENESYS_INTEGRATION_CHECK=true")...)
			assert.Equal(t, test.code, code, text)
			for line, want := range test.want {
				assert.Regexp(t, want, lines[line], text)
			}
			assert.Contains(t, lines["genesys connection details"], "ok ", text)
			assert.Contains(t, lines["kafka topic "+s.name], "ok ", text)
			assert.Equal(t, 1, g.Calls(devstack.TokenPath))
			_, lines, text = s.preflight("ingest", s.genesysSettings(g)...)
			assert.NotContains(t, text, "genesys integration", "only with GENESYS_INTEGRATION_CHECK=true")
			assert.NotContains(t, lines, "genesys topics")
		})
	}
	// The OAuth client lacks the role for the connection details.
	g := s.startGenesys()
	g.Fail(devstack.EventBridgePath, devstack.Failure{Status: http.StatusForbidden, Body: `{"message":"no","code":"missing.permissions","status":403,"contextId":"ctx-1"}`})
	code, lines, text := s.preflight("ingest", s.genesysSettings(g)...)
	assert.Equal(t, 1, code, text)
	assert.Regexp(t, `^ok `, lines["genesys token"])
	assert.Regexp(t, `^failed .*status 403, code missing\.permissions.*ctx-1.*; .*role`, lines["genesys connection details"])
}

// silentAddress returns an address that accepts connections and never answers. Each connection is
// signaled on accepted.
func silentAddress(t *testing.T) (address string, accepted <-chan struct{}) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	signals, done := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = connection.Close() }()
			signals <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String(), signals
}

// On a signal the preflight ends at once.
func TestPreflight_EndsWithin30SecondsIfNoPeerAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		binary  string
		env     func(s *stack, silent string) []string
		failed  []string
		skipped string
	}{
		"worker": {"worker", func(*stack, string) []string { return nil }, []string{"temporal", "target analytics"}, "search attributes"},
		"ingest Genesys": {"ingest", func(s *stack, silent string) []string {
			return append(s.genesysSettings(s.startGenesys()), "GENESYS_API_URL=http://"+silent, "GENESYS_INTEGRATION_CHECK=true")
		}, []string{"genesys connection details", "genesys integration", "temporal", "target analytics"}, "kafka group"},
		"ingest the token": {"ingest", func(s *stack, silent string) []string {
			return append(s.genesysSettings(s.startGenesys()), "GENESYS_TOKEN_URL=http://"+silent)
		}, []string{"genesys token", "temporal", "target analytics"}, "genesys connection details"},
		"ingest TLS": {"ingest", func(_ *stack, silent string) []string {
			return []string{"KAFKA_BOOTSTRAP_SERVERS=" + silent}
		}, []string{"kafka broker $SILENT", "temporal", "target analytics"}, "kafka authentication"},
		"ingest no TLS": {"ingest", func(_ *stack, silent string) []string {
			return []string{"KAFKA_BOOTSTRAP_SERVERS=" + silent, "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"}
		}, []string{"kafka authentication", "temporal", "target analytics"}, "kafka topic"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silent, accepted := silentAddress(t)
			s := newStack(t, nil, `
  - {name: analytics, url: 'https://`+silent+`'}
`)
			env := append(test.env(s, silent), "TEMPORAL_ADDRESS="+silent)
			code, lines, text := s.preflight(test.binary, env...)
			assert.Equal(t, 1, code, text)
			failed := strings.ReplaceAll(strings.Join(test.failed, ", "), "$SILENT", silent)
			for name := range strings.SplitSeq(failed, ", ") {
				assert.Regexp(t, "^failed +"+name+": .+; .+", lines[name], text)
			}
			assert.Contains(t, text, "failed: "+failed)
			assert.Contains(t, lines[test.skipped], "waits for ", text)

			for len(accepted) > 0 {
				<-accepted
			}
			p, err := devstack.StartProcess(s.ctx, devstack.ProcessOptions{
				Path: filepath.Join(shared.bin, test.binary), Args: []string{"--preflight"}, Dir: s.dir, Env: s.env(env...),
			})
			require.NoError(t, err)
			t.Cleanup(p.Close)
			select {
			case <-accepted:
			case <-s.ctx.Done():
				require.NoError(t, s.ctx.Err())
			}
			began := time.Now()
			require.NoError(t, p.Signal(syscall.SIGINT))
			code, text = s.waitEnd(p)
			assert.Less(t, time.Since(began), 5*time.Second)
			assert.Equal(t, 1, code, text)
			assert.Contains(t, text, test.binary+": preflight: interrupted")
			assert.NotContains(t, text, "failed ")
		})
	}
}
