package ingest

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/genesys"
	"genesys-fanout/ingest"
	"genesys-fanout/internal/process"
)

// parse reads settings from an environment and checks them.
func parse(t *testing.T, env process.Env) (*settings, checked, error) {
	t.Helper()
	var s settings
	done, problems := process.Parse(process.App{Name: Name, HTTPAddr: "127.0.0.1:9465"}, &s, nil, env, io.Discard)
	require.False(t, done)
	c := s.check(problems)
	return &s, c, problems.Err()
}

func fromGenesys(changes process.Env) process.Env {
	env := process.Env{"GENESYS_CLIENT_ID": "client", "GENESYS_CLIENT_SECRET": "hush"}
	maps.Copy(env, changes)
	return env
}

func TestSettings_ReportsEveryInvalidOne(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(notPEM, []byte("no certificate"), 0o600))
	for name, test := range map[string]struct {
		env  process.Env
		want []string
	}{
		"nothing set": {process.Env{}, []string{"GENESYS_CLIENT_ID: is not set", "GENESYS_CLIENT_SECRET: is not set", "KAFKA_BOOTSTRAP_SERVERS"}},
		"brokers without credentials": {process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b:9094"}, []string{
			"KAFKA_SASL_USERNAME: is not set", "KAFKA_SASL_PASSWORD: is not set",
		}},
		"brokers without a port":          {process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b", "KAFKA_SECURITY_PROTOCOL": "SSL"}, []string{"KAFKA_BOOTSTRAP_SERVERS: "}},
		"protocol":                        {fromGenesys(process.Env{"KAFKA_SECURITY_PROTOCOL": "TLS"}), []string{"KAFKA_SECURITY_PROTOCOL: "}},
		"mechanism":                       {fromGenesys(process.Env{"KAFKA_SASL_MECHANISM": "SCRAM"}), []string{"KAFKA_SASL_MECHANISM: "}},
		"reset":                           {fromGenesys(process.Env{"KAFKA_AUTO_OFFSET_RESET": "none"}), []string{"KAFKA_AUTO_OFFSET_RESET: "}},
		"topics":                          {fromGenesys(process.Env{"KAFKA_TOPIC": "a,,b"}), []string{"KAFKA_TOPIC: "}},
		"no starts":                       {fromGenesys(process.Env{"FANOUT_MAX_STARTS": "0"}), []string{"FANOUT_MAX_STARTS: "}},
		"an id of an unknown field":       {fromGenesys(process.Env{"FANOUT_EVENT_ID": "event.id + event.typ"}), []string{"FANOUT_EVENT_ID: line 1, column 17: undefined field 'typ'; correct"}},
		"an id that is not a string":      {fromGenesys(process.Env{"FANOUT_EVENT_ID": "payload.id"}), []string{"FANOUT_EVENT_ID: line 1, column 1: the expression is of type dyn, not string; ", "string(…)"}},
		"an id that is not an expression": {fromGenesys(process.Env{"FANOUT_EVENT_ID": "event.id +"}), []string{"FANOUT_EVENT_ID: line 1, column 11: "}},
		"no CA file":                      {fromGenesys(process.Env{"KAFKA_SSL_CA_LOCATION": "/no/such/file"}), []string{"KAFKA_SSL_CA_LOCATION: "}},
		"a CA file without any":           {fromGenesys(process.Env{"KAFKA_SSL_CA_LOCATION": notPEM}), []string{"KAFKA_SSL_CA_LOCATION: "}},
		"an option without a value":       {fromGenesys(process.Env{"KAFKA_OPTIONS": "fetch.wait.max.ms"}), []string{"KAFKA_OPTIONS: "}},
		"an option that is not known":     {fromGenesys(process.Env{"KAFKA_OPTIONS": "no.such.key=1"}), []string{"KAFKA_OPTIONS: ", "no.such.key"}},
		"an option that is ours":          {fromGenesys(process.Env{"KAFKA_OPTIONS": "enable.auto.commit=true"}), []string{"KAFKA_OPTIONS: ", "enable.auto.commit"}},
		"our option by its other name":    {fromGenesys(process.Env{"KAFKA_OPTIONS": "metadata.broker.list=b:1"}), []string{"KAFKA_OPTIONS: ", "metadata.broker.list"}},
		"statistics switched off":         {fromGenesys(process.Env{"KAFKA_OPTIONS": "statistics.interval.ms=0"}), []string{"KAFKA_OPTIONS: ", "/readyz"}},
		"another group protocol":          {fromGenesys(process.Env{"KAFKA_OPTIONS": "group.protocol=consumer"}), []string{"KAFKA_OPTIONS: ", `group.protocol is "consumer"`, "classic", "leave it out"}},
		"our reset by an option":          {fromGenesys(process.Env{"KAFKA_OPTIONS": "auto.offset.reset=latest"}), []string{"KAFKA_OPTIONS: ", "KAFKA_AUTO_OFFSET_RESET decides it"}},
		"tokens without a provider": {fromGenesys(process.Env{"KAFKA_SASL_MECHANISM": "OAUTHBEARER"}), []string{
			"KAFKA_OPTIONS: has no sasl.oauthbearer.method=oidc, which KAFKA_SASL_MECHANISM=OAUTHBEARER needs; set ",
		}},
		"tokens without a secret": {fromGenesys(process.Env{
			"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OPTIONS": "sasl.oauthbearer.method=OIDC,sasl.oauthbearer.client.id=hush,sasl.oauthbearer.token.endpoint.url=http://127.0.0.1:1",
		}), []string{"KAFKA_OPTIONS: has no sasl.oauthbearer.client.secret, "}},
		"a secret among options that are wrong": {fromGenesys(process.Env{"KAFKA_OPTIONS": "ssl.key.password=hush,,x"}), []string{"KAFKA_OPTIONS: part 2 of it is not key=value; "}},
		"a wrong value after a secret":          {fromGenesys(process.Env{"KAFKA_OPTIONS": "ssl.key.password=hush,fetch.wait.max.ms=soon"}), []string{"KAFKA_OPTIONS: ", "fetch.wait.max.ms"}},
		"Genesys by http":                       {fromGenesys(process.Env{"GENESYS_API_URL": "http://api.mypurecloud.com"}), []string{"GENESYS_API_URL"}},
		"an integration check":                  {fromGenesys(process.Env{"GENESYS_INTEGRATION_CHECK": "yes"}), []string{"GENESYS_INTEGRATION_CHECK: "}},
		"two at once": {fromGenesys(process.Env{"KAFKA_SECURITY_PROTOCOL": "TLS", "FANOUT_MAX_STARTS": "x"}), []string{
			"KAFKA_SECURITY_PROTOCOL: ", "FANOUT_MAX_STARTS: ",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parse(t, test.env)
			var exit *process.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, process.ExitUsage, exit.Code)
			for _, part := range test.want {
				assert.ErrorContains(t, err, part)
			}
			assert.NotContains(t, err.Error(), "hush")
		})
	}
}

// The user must not read that a secret is set twice, or is in a file that cannot be read, and also
// that it is not set.
func TestSettings_ASecretThatCannotBeReadHasOneProblem(t *testing.T) {
	brokers := process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b:1", "KAFKA_SASL_USERNAME": "u"}
	for name, test := range map[string]struct {
		env  process.Env
		with process.Env
		want string
	}{
		"Genesys secret in two ways": {
			fromGenesys(nil),
			process.Env{"GENESYS_CLIENT_SECRET_FILE": "/no/such/file"},
			"GENESYS_CLIENT_SECRET: is set, and so is GENESYS_CLIENT_SECRET_FILE; set one of the two",
		},
		"Genesys secret in a missing file": {
			process.Env{"GENESYS_CLIENT_ID": "client"},
			process.Env{"GENESYS_CLIENT_SECRET_FILE": "/no/such/file"},
			`GENESYS_CLIENT_SECRET_FILE: names "/no/such/file", which cannot be read: no such file or directory; name a file that this process can read`,
		},
		"password in a missing file": {
			brokers,
			process.Env{"KAFKA_SASL_PASSWORD_FILE": "/no/such/file"},
			`KAFKA_SASL_PASSWORD_FILE: names "/no/such/file", which cannot be read: no such file or directory; name a file that this process can read`,
		},
		"OAUTHBEARER options in a missing file": {
			brokers,
			process.Env{"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OPTIONS_FILE": "/no/such/file"},
			`KAFKA_OPTIONS_FILE: names "/no/such/file", which cannot be read: no such file or directory; name a file that this process can read`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := maps.Clone(test.env)
			maps.Copy(env, test.with)
			_, _, err := parse(t, env)
			require.EqualError(t, err, test.want)
		})
	}
}

// A variable overrides the Genesys API's answer, which overrides the default.
func TestSettings_Connection(t *testing.T) {
	least := genesys.ConnectionDetails{BootstrapServers: "g:9094", SASLUsername: "genesys", SASLPassword: "told"}
	whole := least
	whole.SASLMechanism, whole.Topics = "SCRAM-SHA-256", []string{"one", "two"}
	for name, test := range map[string]struct {
		env     process.Env
		details genesys.ConnectionDetails
		want    ingest.Connection
	}{
		"defaults": {fromGenesys(nil), least, ingest.Connection{
			BootstrapServers: "g:9094", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512",
			SASLUsername: "genesys", SASLPassword: "told", Topics: []string{"genesys-cloud-interaction-events"},
		}},
		"Genesys' answer": {fromGenesys(nil), whole, ingest.Connection{
			BootstrapServers: "g:9094", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-256",
			SASLUsername: "genesys", SASLPassword: "told", Topics: []string{"one", "two"},
		}},
		"variables": {fromGenesys(process.Env{
			"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "mine", "KAFKA_TOPIC": "three, four",
		}), whole, ingest.Connection{
			BootstrapServers: "g:9094", SecurityProtocol: "SASL_SSL", SASLMechanism: "PLAIN",
			SASLUsername: "me", SASLPassword: "mine", Topics: []string{"three", "four"},
		}},
		"without Genesys": {process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b:1,c:2", "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, genesys.ConnectionDetails{}, ingest.Connection{
			BootstrapServers: "b:1,c:2", SecurityProtocol: "PLAINTEXT", SASLMechanism: "SCRAM-SHA-512", Topics: []string{"genesys-cloud-interaction-events"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, err := parse(t, test.env)
			require.NoError(t, err)
			test.want.Extra = map[string]string{}
			assert.Equal(t, test.want, s.connection(test.details, c))
		})
	}
}

func TestSettings_OptionsReachTheConsumer(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                       {},
		"fetch.wait.max.ms=100, client.rack=a=b": {"fetch.wait.max.ms": "100", "client.rack": "a=b"},
		`client.rack=a\,b\c,client.dns.lookup=use_all_dns_ips`: {"client.rack": `a,b\c`, "client.dns.lookup": "use_all_dns_ips"},
	} {
		_, c, err := parse(t, fromGenesys(process.Env{"KAFKA_OPTIONS": text}))
		require.NoError(t, err, text)
		assert.Equal(t, want, c.extra)
	}
}

func TestSettings_OAuthBearerNeedsNoUser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options")
	options := `sasl.oauthbearer.method=oidc,sasl.oauthbearer.client.id=ingest,sasl.oauthbearer.client.secret=hu\,sh,sasl.oauthbearer.token.endpoint.url=https://idp/token`
	require.NoError(t, os.WriteFile(file, []byte(options+"\n"), 0o600))
	s, c, err := parse(t, process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b:1", "KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OPTIONS_FILE": file})
	require.NoError(t, err)
	connection := s.connection(genesys.ConnectionDetails{}, c)
	assert.Equal(t, ingest.OAuthBearer, connection.SASLMechanism)
	assert.Equal(t, "hu,sh", connection.Extra["sasl.oauthbearer.client.secret"])
	assert.NotContains(t, fmt.Sprintf("%+v", s), "hu")
}

// The last options stay in use while the file is invalid.
func TestConnect_ReadsOptionsInAFileAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("client.rack=a")
	env := process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b:1", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p", "KAFKA_OPTIONS_FILE": file}
	s, c, err := parse(t, env)
	require.NoError(t, err)
	connect := (&configuration{settings: s, checked: c, env: env}).connect(nil, slog.New(slog.DiscardHandler))
	for text, want := range map[string]string{"client.rack=b": "b", "": "a", "no.such.key=1": "a", "client.rack": "a", "group.id=x": "a"} {
		write(text)
		connection, err := connect(t.Context())
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"client.rack": want}, connection.Extra, text)
	}
}

func TestConnect_ReadsAPasswordInAFileAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("old\n"), 0o600))
	env := process.Env{"KAFKA_BOOTSTRAP_SERVERS": "b:1", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD_FILE": file}
	s, c, err := parse(t, env)
	require.NoError(t, err)
	connect := (&configuration{settings: s, checked: c, env: env}).connect(nil, slog.New(slog.DiscardHandler))
	for _, password := range []string{"old", "new"} {
		require.NoError(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
		connection, err := connect(t.Context())
		require.NoError(t, err)
		assert.Equal(t, password, connection.SASLPassword)
	}
}

// The default of FANOUT_TASK_QUEUE is a literal in a struct tag of process.Shared.
func TestSettings_TaskQueueIsFanoutsByDefault(t *testing.T) {
	s, _, err := parse(t, fromGenesys(nil))
	require.NoError(t, err)
	assert.Equal(t, fanout.DefaultTaskQueue, s.TaskQueue)
}

func TestSettings_EventIDIsEventIDByDefault(t *testing.T) {
	e, err := event.Decode([]byte(`{"event_id":"a","event_type":"b"}`))
	require.NoError(t, err)
	for expression, want := range map[string]string{"": "a", `event.id + "-" + event.type`: "a-b"} {
		s, c, err := parse(t, fromGenesys(process.Env{"FANOUT_EVENT_ID": expression}))
		require.NoError(t, err)
		got, err := c.eventID.Of(e)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		if expression != "" {
			assert.Contains(t, process.SettingsInEffect(s), process.Setting{Name: "FANOUT_EVENT_ID", Value: expression})
		}
	}
}
