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

// TestPreflightOfTargets: each that is not reached has its line, for the process
// that sends to it.
func TestPreflightOfTargets(t *testing.T) {
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
	assert.NotContains(t, lines, "target away", "it sends them nothing")
	s.unchanged()
}

// TestPreflightAsJSON: one array, whatever came of it, and the settings first.
func TestPreflightAsJSON(t *testing.T) {
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
		code, text := s.ask(test.binary, []string{"--preflight", "--json"}, s.env(test.env...))
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
		code, text := s.ask("worker", args, s.env())
		assert.Equal(t, 2, code, text)
		assert.Contains(t, text, args[len(args)-1]+": ")
	}
	code, text := s.ask("ingest", []string{"--preflight"}, s.env("KAFKA_SECURITY_PROTOCOL=TLS", "GENESYS_INTEGRATION_CHECK=true"))
	assert.Equal(t, 2, code, text)
	for _, name := range []string{"KAFKA_SECURITY_PROTOCOL: ", "GENESYS_CLIENT_ID: ", "GENESYS_CLIENT_SECRET: "} {
		assert.Contains(t, text, name)
	}
}

// TestPreflightOfIntegrations: what the organisation sends to Amazon EventBridge,
// and what a target waits for in vain.
func TestPreflightOfIntegrations(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "crm": ok}, `
  - {name: analytics, url: '$ANALYTICS', when: 'event.type in ["`+topicOfGenesys+`", "conversation.started"] || event.type.startsWith("v2.detail.events.conversation.")'}
  - {name: crm, url: '$CRM', when: 'event.type == "v2.detail.events.user.presence" || !(event.type == "v2.detail.not.asked")'}
  - {name: old, url: '$CRM', when: 'event.type == "v2.detail.of.a.retired.one"', state: retired}
`)
	events := devstack.Integration{Name: "events", Account: "123456789012", Region: "eu-west-1", Suffix: "fanout", Topics: []string{topicOfGenesys}}
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
			code, lines, text := s.preflight("ingest", append(s.fromGenesys(g), "GENESYS_INTEGRATION_CHECK=true")...)
			assert.Equal(t, test.code, code, text)
			for line, want := range test.want {
				assert.Regexp(t, want, lines[line], text)
			}
			assert.Contains(t, lines["genesys connection details"], "ok ", text)
			assert.Contains(t, lines["kafka topic "+s.name], "ok ", text)
			assert.Equal(t, 1, g.Calls(devstack.TokenPath))
			_, lines, text = s.preflight("ingest", s.fromGenesys(g)...)
			assert.NotContains(t, text, "genesys integration", "only where it is asked for")
			assert.NotContains(t, lines, "genesys topics")
		})
	}
	// A role that is missing for the connection details.
	g := s.genesys()
	g.Fail(devstack.EventBridgePath, devstack.Failure{Status: http.StatusForbidden, Body: `{"message":"no","code":"missing.permissions","status":403,"contextId":"ctx-1"}`})
	code, lines, text := s.preflight("ingest", s.fromGenesys(g)...)
	assert.Equal(t, 1, code, text)
	assert.Regexp(t, `^ok `, lines["genesys token"])
	assert.Regexp(t, `^failed .*status 403, code missing\.permissions.*ctx-1.*; .*role`, lines["genesys connection details"])
}

// silent is an address that takes connections and never says a word. Each is
// told on taken.
func silent(t *testing.T) (address string, taken <-chan struct{}) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	told, done := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = connection.Close() }()
			told <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String(), told
}

// TestPreflightWhereNothingAnswers ends within 30 s, and at once on a signal.
func TestPreflightWhereNothingAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		binary  string
		env     func(s *stack, hung string) []string
		failed  []string
		skipped string
	}{
		"worker": {"worker", func(*stack, string) []string { return nil }, []string{"temporal", "target analytics"}, "search attributes"},
		"ingest Genesys": {"ingest", func(s *stack, hung string) []string {
			return append(s.fromGenesys(s.genesys()), "GENESYS_API_URL=http://"+hung, "GENESYS_INTEGRATION_CHECK=true")
		}, []string{"genesys connection details", "genesys integration", "temporal", "target analytics"}, "kafka group"},
		"ingest the token": {"ingest", func(s *stack, hung string) []string {
			return append(s.fromGenesys(s.genesys()), "GENESYS_TOKEN_URL=http://"+hung)
		}, []string{"genesys token", "temporal", "target analytics"}, "genesys connection details"},
		"ingest TLS": {"ingest", func(_ *stack, hung string) []string {
			return []string{"KAFKA_BOOTSTRAP_SERVERS=" + hung}
		}, []string{"kafka broker $HUNG", "temporal", "target analytics"}, "kafka authentication"},
		"ingest no TLS": {"ingest", func(_ *stack, hung string) []string {
			return []string{"KAFKA_BOOTSTRAP_SERVERS=" + hung, "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"}
		}, []string{"kafka authentication", "temporal", "target analytics"}, "kafka topic"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hung, taken := silent(t)
			s := newStack(t, nil, "  - {name: analytics, url: 'https://"+hung+"'}\n")
			env := append(test.env(s, hung), "TEMPORAL_ADDRESS="+hung)
			code, lines, text := s.preflight(test.binary, env...)
			assert.Equal(t, 1, code, text)
			failed := strings.ReplaceAll(strings.Join(test.failed, ", "), "$HUNG", hung)
			for name := range strings.SplitSeq(failed, ", ") {
				assert.Regexp(t, "^failed +"+name+": .+; .+", lines[name], text)
			}
			assert.Contains(t, text, "failed: "+failed)
			assert.Contains(t, lines[test.skipped], "waits for ", text)

			for len(taken) > 0 {
				<-taken
			}
			p, err := devstack.StartProcess(s.ctx, devstack.ProcessOptions{
				Path: filepath.Join(shared.bin, test.binary), Args: []string{"--preflight"}, Dir: s.dir, Env: s.env(env...),
			})
			require.NoError(t, err)
			t.Cleanup(p.Close)
			select {
			case <-taken:
			case <-s.ctx.Done():
				require.NoError(t, s.ctx.Err())
			}
			began := time.Now()
			require.NoError(t, p.Signal(syscall.SIGINT))
			code, text = s.ends(p)
			assert.Less(t, time.Since(began), 5*time.Second)
			assert.Equal(t, 1, code, text)
			assert.Contains(t, text, test.binary+": preflight: interrupted")
			assert.NotContains(t, text, "failed ")
		})
	}
}
