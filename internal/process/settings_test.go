package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/redact"
	"genesys-fanout/target"
)

// exampleSettings is the struct of settings of a process, with one setting of each kind.
type exampleSettings struct {
	Shared
	Starts   string `env:"FANOUT_MAX_STARTS" default:"256" help:"Most starts in flight."`
	Topic    string `env:"KAFKA_TOPIC" placeholder:"NAMES" help:"Topics, with commas."`
	Password Secret `kong:"-" env:"KAFKA_SASL_PASSWORD" help:"SASL password."`
}

var example = App{Name: "ingest", Description: "Starts runs.", HTTPAddr: "127.0.0.1:9465"}

func parseExample(args []string, env Env) (settings exampleSettings, stdout string, done bool, problems *Problems) {
	var out bytes.Buffer
	done, problems = Parse(example, &settings, args, env, &out)
	return settings, out.String(), done, problems
}

// lines returns the lines that the user reads on standard error.
func lines(problems *Problems) []string {
	if err := problems.Err(); err != nil {
		return strings.Split(err.Error(), "\n")
	}
	return nil
}

func TestParse_AFlagOverridesItsVariableAndAVariableTheDefault(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  Env
		want string
	}{
		"default":                {want: "256"},
		"variable":               {env: Env{"FANOUT_MAX_STARTS": "7"}, want: "7"},
		"empty variable":         {env: Env{"FANOUT_MAX_STARTS": ""}, want: "256"},
		"flag":                   {args: []string{"--max-starts", "9"}, want: "9"},
		"flag over the variable": {args: []string{"--max-starts=9"}, env: Env{"FANOUT_MAX_STARTS": "7"}, want: "9"},
	} {
		t.Run(name, func(t *testing.T) {
			settings, _, done, problems := parseExample(test.args, test.env)
			require.NoError(t, problems.Err())
			assert.False(t, done)
			assert.Equal(t, test.want, settings.Starts)
		})
	}
}

func TestParse_HasTheDefaultsOfTheContract(t *testing.T) {
	settings, _, _, problems := parseExample(nil, Env{})
	require.NoError(t, problems.Err())
	assert.Equal(t, Shared{
		Targets: "targets.yaml", TaskQueue: "genesys-fanout", HTTPAddr: "127.0.0.1:9465", LogLevel: "info", LogFormat: "text",
	}, settings.Shared)
}

func TestParse_IgnoresTheRealEnvironment(t *testing.T) {
	t.Setenv("FANOUT_MAX_STARTS", "13")
	settings, _, _, _ := parseExample(nil, Env{})
	assert.Equal(t, "256", settings.Starts)
}

func TestEnviron_DropsEmptyVariables(t *testing.T) {
	t.Setenv("FANOUT_TARGETS", "")
	t.Setenv("KAFKA_TOPIC", "a=b")
	env := Environ()
	assert.NotContains(t, env, "FANOUT_TARGETS")
	assert.Equal(t, "a=b", env["KAFKA_TOPIC"])
}

func TestParse_HelpShowsFlagVariableAndDefault(t *testing.T) {
	_, stdout, done, problems := parseExample([]string{"--help"}, Env{"FANOUT_LOG_LEVEL": "bad"})
	assert.True(t, done)
	require.NoError(t, problems.Err())
	for _, want := range []string{
		`--targets="targets.yaml"`, "FANOUT_TARGETS", `--http-addr="127.0.0.1:9465"`, "FANOUT_HTTP_ADDR", `--max-starts="256"`, "FANOUT_MAX_STARTS",
		"--kafka-topic=NAMES", "KAFKA_TOPIC", "--check", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_PASSWORD_FILE", "TEMPORAL_ADDRESS", "localhost:7233",
	} {
		assert.Contains(t, stdout, want)
	}
	assert.NotContains(t, stdout, "--kafka-sasl-password")
}

func TestParse_PrintsTheVersion(t *testing.T) {
	_, stdout, done, problems := parseExample([]string{"--version"}, Env{"FANOUT_LOG_LEVEL": "bad"})
	assert.True(t, done)
	require.NoError(t, problems.Err())
	assert.Regexp(t, `^ingest \S+ \(go1\.\S+, Temporal SDK v1\.\S+\)\n$`, stdout)
}

func TestParse_ReportsAllProblemsAtOnce(t *testing.T) {
	settings, _, done, problems := parseExample([]string{"--json", "--check"}, Env{
		"FANOUT_TARGET": "typo.yaml", "FANOUT_PAYLOAD_KEYS": "id:c2VjcmV0",
		"FANOUT_DEAD_LETTERS": "of the worker", "FANOUT_HTTP_ADDR": "9465", "FANOUT_LOG_LEVEL": "loud", "FANOUT_LOG_FORMAT": "xml",
		"KAFKA_SASL_PASSWORD": "hunter2", "KAFKA_SASL_PASSWORD_FILE": "/run/secrets/kafka",
	})
	require.False(t, done, "the caller adds its own problems")
	problems.PositiveInt("FANOUT_MAX_STARTS", "0", 10)
	problems.AddError(errors.New("targets.yaml:3:5: url: is not a URL; write https://host/path"))

	assert.ElementsMatch(t, []string{
		"FANOUT_PAYLOAD_KEYS: is not supported by this version; unset it",
		"FANOUT_TARGET: is not a setting; correct the name or unset it; --help lists the settings",
		"KAFKA_SASL_PASSWORD: is set, and so is KAFKA_SASL_PASSWORD_FILE; set one of the two",
		`FANOUT_HTTP_ADDR: "9465" is not valid; it must be host:port with a port from 0 to 65535`,
		`FANOUT_LOG_LEVEL: "loud" is not valid; it must be one of debug, info, warn, error`,
		`FANOUT_LOG_FORMAT: "xml" is not valid; it must be one of text, json`,
		"--json: has an effect only with --preflight; add --preflight, or remove --json",
		`FANOUT_MAX_STARTS: "0" is not valid; it must be a whole number from 1 to 10`,
		"targets.yaml:3:5: url: is not a URL; write https://host/path",
	}, lines(problems))
	assert.False(t, settings.Password.IsSet())
	var exit *ExitError
	require.ErrorAs(t, problems.Err(), &exit)
	assert.Equal(t, ExitUsage, exit.Code)
}

func TestParse_AWrongCommandLineIsAUsageError(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"--targets"}, {"--check=maybe"}, {"argument"}, {"--kafka-sasl-password=x"}} {
		_, _, done, problems := parseExample(args, Env{"FANOUT_TYPO": "1"})
		assert.True(t, done, args)
		got := lines(problems)
		require.Len(t, got, 2, args)
		assert.Contains(t, got[0], "FANOUT_TYPO: ")
		assert.Regexp(t, `^ingest: .+; see --help$`, got[1])
	}
}

func TestReport_ShowsSettingsInEffectWithoutSecrets(t *testing.T) {
	settings, _, _, problems := parseExample([]string{"--kafka-topic=a,b"}, Env{"KAFKA_SASL_PASSWORD": "hunter2"})
	require.NoError(t, problems.Err())
	var out bytes.Buffer
	targets, err := target.Parse("targets.yaml", []byte(`targets:
  - {name: analytics, url: 'https://user:hunter2@analytics.internal/'}
  - {name: audit, url: 'https://audit.internal/', state: paused}
  - {name: old, url: 'https://old.internal/', state: retired}
`), nil)
	require.NoError(t, err)
	require.NoError(t, Report(&out, "ingest", SettingsInEffect(&settings), targets))
	assert.Regexp(t, `(?m)^ +FANOUT_TARGETS +targets\.yaml$`, out.String())
	assert.Regexp(t, `(?m)^ +KAFKA_TOPIC +a,b$`, out.String())
	assert.Regexp(t, `(?m)^ +KAFKA_SASL_PASSWORD +\(set\)$`, out.String())
	assert.Regexp(t, `(?m)^ +analytics +https://REDACTED@analytics\.internal/$`, out.String())
	assert.Regexp(t, `(?m)^ +audit +https://audit\.internal/ \(paused\)$`, out.String())
	assert.Regexp(t, `(?m)^ +old +https://old\.internal/ \(retired\)$`, out.String())
	assert.Regexp(t, `(?m)^warning: targets\.yaml:2:5: targets\[0\]\.retry_statuses: .+; .+$`, out.String())
	assert.NotContains(t, out.String(), "hunter")
}

func TestEnvSecret_ReadsTheVariableOrItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("hunter2\n"), 0o600))
	secret, err := Env{"KEY_FILE": file}.Secret("KEY")
	require.NoError(t, err)
	assert.Equal(t, "hunter2", secret.Reveal())
	secret, err = Env{"KEY": "hunter2", "KEY_FILE": file}.Secret("KEY")
	require.ErrorAs(t, err, new(*Problem))
	assert.False(t, secret.IsSet())
}

func TestSecret_IsShownByNoVerbAndNoLogger(t *testing.T) {
	secret := NewSecret("hunter2")
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
		fmt.Fprintf(&out, verb+" ", secret)
		fmt.Fprintf(&out, verb+" ", &secret)
		fmt.Fprintf(&out, verb+"\n", exampleSettings{Password: secret})
	}
	for _, format := range logFormats {
		Logger(&out, "debug", format).Info("settings", "secret", secret, "pointer", &secret, "struct", exampleSettings{Password: secret})
	}
	assert.NotContains(t, out.String(), "hunter2")
	assert.NotContains(t, strings.ToLower(out.String()), fmt.Sprintf("%x", "hunter2"))
	assert.Contains(t, out.String(), redact.Marker)
	assert.Equal(t, "hunter2", secret.Reveal())
}

func TestWarnPaused_LogsOneLineForEachPausedTarget(t *testing.T) {
	targets, err := target.Parse("targets.yaml", []byte(`targets:
  - {name: analytics, url: 'https://analytics.internal/'}
  - {name: audit, url: 'https://audit.internal/', state: paused, max_age: 3h}
  - {name: old, url: 'https://old.internal/', state: retired}
`), nil)
	require.NoError(t, err)
	var out bytes.Buffer
	WarnPaused(Logger(&out, "info", "text"), targets)
	assert.Regexp(t, `^time=\S+ level=WARN msg="target is paused: its events wait in Temporal until it is active again; [^"]*" `+
		`target=audit max_age=3h0m0s cure="[^"]*set state: active in targets\.yaml and restart worker and ingest"\n$`, out.String())
}

func TestWarnTracing_LogsOneLineWithoutValues(t *testing.T) {
	var out bytes.Buffer
	WarnTracing(Logger(&out, "info", "text"), Env{"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_HEADERS": "auth=hunter2"})
	assert.Equal(t, 1, strings.Count(out.String(), "\n"))
	assert.Contains(t, out.String(), "OTEL_SERVICE_NAME")
	assert.NotContains(t, out.String(), "hunter2")
	out.Reset()
	WarnTracing(Logger(&out, "info", "text"), Env{"OTEL_SERVICE_NAME": ""})
	assert.Empty(t, out.String())
}
