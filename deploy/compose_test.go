// Package deploy_test checks the compose file and the files that it mounts, without a
// container engine. It loads the compose file as docker compose does and looks for
// mistakes that would appear only on another machine.
package deploy_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/target"
)

const composeFile = "docker-compose.temporal.yml"

func root(t *testing.T) string {
	t.Helper()
	directory, err := filepath.Abs("..")
	require.NoError(t, err)
	return directory
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(t), name))
	require.NoError(t, err)
	return content
}

// load loads the content of a compose file as docker compose does, with the variables of
// an .env file.
func load(t *testing.T, content []byte, env map[string]string, profiles ...string) (*types.Project, error) {
	t.Helper()
	details := types.ConfigDetails{
		WorkingDir:  root(t),
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(root(t), composeFile), Content: content}},
		Environment: env,
	}
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.Profiles = profiles
		// The result must not depend on a developer's targets.env.
		o.SkipResolveEnvironment = true
	})
}

func demoEnv(t *testing.T) map[string]string {
	t.Helper()
	env, err := dotenv.Parse(bytes.NewReader(read(t, "deploy/demo.env")))
	require.NoError(t, err)
	return env
}

func TestComposeFile_HasNoProblems(t *testing.T) {
	core := []string{"ingest", "postgres", "temporal", "temporal-namespace", "temporal-schema", "temporal-ui", "worker"}
	demo := append([]string{"demo", "kafka", "kafka-topic"}, core...)
	for name, test := range map[string]struct {
		env      map[string]string
		profiles []string
		services []string
	}{
		"no profile":         {services: core},
		"all profiles":       {profiles: []string{"*"}, services: demo},
		"demo":               {env: demoEnv(t), profiles: []string{demoEnv(t)["COMPOSE_PROFILES"]}, services: demo},
		"demo, no variables": {profiles: []string{"demo"}, services: demo},
		"every variable empty": {
			env:      map[string]string{"FANOUT_TARGETS": "", "TEMPORAL_NAMESPACE": "", "POSTGRES_PASSWORD": "", "KAFKA_TOPIC": ""},
			services: core,
		},
	} {
		t.Run(name, func(t *testing.T) {
			project, err := load(t, read(t, composeFile), test.env, test.profiles...)
			require.NoError(t, err)
			assert.ElementsMatch(t, test.services, project.ServiceNames())
			assert.Empty(t, problems(project))
		})
	}
}

// Each check must be able to fail: it must find a mistake in a copy of the compose file.
func TestProblems_FindsEachMistake(t *testing.T) {
	for name, test := range map[string]struct{ old, new, problem string }{
		"an image without tag":                    {"apache/kafka:4.3.1", "apache/kafka", "kafka: image apache/kafka must have a tag with an exact version"},
		"the latest image":                        {"temporalio/ui:2.55.0", "temporalio/ui:latest", "temporal-ui: image temporalio/ui:latest must have a tag with an exact version"},
		"a moving tag":                            {"postgres:17.6", "postgres:17", "postgres: image postgres:17 must have a tag with an exact version"},
		"a deprecated image":                      {"temporalio/server:1.32.1", "temporalio/auto-setup:1.29.1", "temporal: image temporalio/auto-setup:1.29.1 is deprecated; use temporalio/server"},
		"different versions of server and schema": {"temporalio/server:1.32.1", "temporalio/server:1.31.2", "temporalio/admin-tools has version 1.32.1, but temporalio/server has 1.31.2"},
		"a port on every address":                 {"127.0.0.1:8080:8080", "8080:8080", `temporal-ui: port 8080 is published on "", but must be on 127.0.0.1`},
		"a port on another address":               {"127.0.0.1:9465:9465", "0.0.0.0:9465:9465", `ingest: port 9465 is published on "0.0.0.0", but must be on 127.0.0.1`},
		"the host's network":                      {"    image: postgres:17.6", "    image: postgres:17.6\n    network_mode: host", "postgres: uses the host's network"},
		"an unknown setting":                      {"FANOUT_LOG_LEVEL: ", "FANOUT_LOGLEVEL: ", "worker: FANOUT_LOGLEVEL is not a setting of worker"},
		"a setting of another process":            {"      FANOUT_DEAD_LETTERS: /", "      FANOUT_MAX_STARTS: /", "worker: FANOUT_MAX_STARTS is not a setting of worker"},
		"an unknown setting of ingest":            {"FANOUT_MAX_STARTS: ${FANOUT_MAX_STARTS:-}", "FANOUT_PAYLOAD_KEYS: k", "ingest: FANOUT_PAYLOAD_KEYS is not a setting of ingest"},
		"a missing directory":                     {"source: ./deploy/kafka,", "source: ./deploy/kafkaa,", "kafka: mount /etc/genesys-fanout: deploy/kafkaa does not exist"},
		"a missing targets file":                  {"./targets.yaml}", "./target.yaml}", "worker: mount /etc/genesys-fanout/targets.yaml: target.yaml does not exist"},
		"a missing script":                        {"/etc/genesys-fanout/schema.sh", "/etc/genesys-fanout/scheme.sh", "temporal-schema: /etc/genesys-fanout/scheme.sh: deploy/temporal/scheme.sh does not exist"},
		"a file mounted elsewhere":                {"  FANOUT_TARGETS: /etc/genesys-fanout/", "  FANOUT_TARGETS: /etc/fanout/", "worker: /etc/fanout/targets.yaml is not on a mount"},
		"a mount that creates its source":         {"bind: {create_host_path: false}}\n      - kafka:", "bind: {create_host_path: true}}\n      - kafka:", "kafka: mount /etc/genesys-fanout: docker would create a missing deploy/kafka; set create_host_path: false"},
		"dead letters in the container": {
			"      - dead-letters:/var/lib/genesys-fanout/dead-letters\n", "",
			"worker: the dead letters at /var/lib/genesys-fanout/dead-letters are not on a volume",
		},
		"no health check": {
			"      test: [CMD, pg_isready, --host=127.0.0.1, --username=temporal]\n", "      disable: true\n",
			"postgres: restarts for ever but has no health check",
		},
		"a health check of another port": {"http://127.0.0.1:9464/readyz", "http://127.0.0.1:9465/readyz", "worker: the health check does not request :9464/readyz"},
		"waits for the health of a service that ends": {
			"temporal-schema: {condition: service_completed_successfully}", "temporal-schema: {condition: service_healthy}",
			"temporal: waits until temporal-schema is healthy, but that has no health check",
		},
		"waits for the end of a service that does not end": {
			"postgres: {condition: service_healthy}", "postgres: {condition: service_completed_successfully}",
			"temporal-schema: waits until postgres ends, but that restarts for ever",
		},
		"waits only for the start": {
			"temporal: {condition: service_healthy}", "temporal: {condition: service_started}",
			"temporal-namespace: waits only until temporal is started",
		},
		"metrics on loopback of the container": {"FANOUT_HTTP_ADDR: 0.0.0.0:9464", "FANOUT_HTTP_ADDR: 127.0.0.1:9464", "worker: FANOUT_HTTP_ADDR must be 0.0.0.0 with a port"},
		"metrics without an address":           {"      FANOUT_HTTP_ADDR: 0.0.0.0:9465\n", "", "ingest: FANOUT_HTTP_ADDR must be 0.0.0.0 with a port"},
		"a metrics port that is not published": {"127.0.0.1:9464:9464", "127.0.0.1:9464:9466", "worker: the port 9464 in FANOUT_HTTP_ADDR is not published"},
		"an unknown flag":                      {"--targets-addr", "--target-addr", "demo: demo serve has no flag --target-addr"},
		"a missing flag":                       {"      - --genesys-addr\n      - 0.0.0.0:8081\n", "", "demo: demo serve lacks --genesys-addr"},
		"no command":                           {"    command: [worker]\n", "", "worker: the command is empty"},
		"a program that the image lacks":       {"command: [ingest]", "command: [ingester]", "ingest: the image has no program ingester"},
		"short retention":                      {"RETENTION: 7d", "RETENTION: 1d", "temporal-namespace: the retention is 1d, but must be 7d"},
		"too little time to stop":              {"stop_grace_period: 60s", "stop_grace_period: 5s", "ingest: stop_grace_period is 5s, but must be at least 15s"},
	} {
		t.Run(name, func(t *testing.T) {
			valid := read(t, composeFile)
			require.True(t, bytes.Contains(valid, []byte(test.old)), "the compose file no longer contains %q", test.old)
			project, err := load(t, bytes.ReplaceAll(valid, []byte(test.old), []byte(test.new)), nil, "*")
			require.NoError(t, err)
			assert.Contains(t, problems(project), test.problem)
		})
	}
}

// Without the demo's profile its services do not exist, so another service must not
// require them.
func TestComposeFile_RejectsARequiredDependencyOnAnotherProfile(t *testing.T) {
	valid := read(t, composeFile)
	broken := bytes.ReplaceAll(valid, []byte(", required: false}"), []byte("}"))
	require.NotEqual(t, string(valid), string(broken))
	_, err := load(t, broken, nil)
	assert.ErrorContains(t, err, "kafka-topic")
}

func TestDemoSettings_AgreeInAllServices(t *testing.T) {
	env := demoEnv(t)
	text := read(t, composeFile)
	for name := range env {
		if name != "COMPOSE_PROFILES" { // docker compose itself reads it
			assert.Contains(t, string(text), "${"+name+":-", "the compose file does not use %s of demo.env", name)
		}
	}
	project, err := load(t, text, env, env["COMPOSE_PROFILES"])
	require.NoError(t, err)
	ingest, kafka := project.Services["ingest"].Environment, project.Services["kafka"].Environment
	assert.Equal(t, "kafka:9092", *ingest["KAFKA_BOOTSTRAP_SERVERS"])
	assert.Contains(t, string(read(t, "deploy/kafka/server.properties")), "advertised.listeners="+*ingest["KAFKA_SECURITY_PROTOCOL"]+"://kafka:9092\n")
	for _, name := range []string{"KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"} {
		assert.NotEmpty(t, *kafka[name])
		assert.Equal(t, *kafka[name], *ingest[name], name)
	}
	demo := project.Services["demo"]
	command := strings.Join(demo.Command, " ")
	for flag, variable := range map[string]string{
		"--kafka-bootstrap": "KAFKA_BOOTSTRAP_SERVERS", "--kafka-username": "KAFKA_SASL_USERNAME", "--kafka-password": "KAFKA_SASL_PASSWORD",
	} {
		assert.Contains(t, command, flag+" "+*ingest[variable])
	}
	for _, name := range []string{"KAFKA_TOPIC", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"} {
		assert.Equal(t, *ingest[name], *demo.Environment[name], name)
	}
	assert.Equal(t, "genesys-cloud-interaction-events", *ingest["KAFKA_TOPIC"])
	assert.Equal(t, "genesys-cloud-interaction-events", *project.Services["kafka-topic"].Environment["KAFKA_TOPIC"])
	for _, service := range []string{"worker", "ingest"} {
		assert.Equal(t, filepath.Join(root(t), "deploy", "targets.demo.yaml"), project.Services[service].Volumes[0].Source)
	}
}

func TestDemoTargets_AreValid(t *testing.T) {
	set, err := target.Load(filepath.Join(root(t), "deploy", "targets.demo.yaml"), func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	var names []string
	for _, one := range set.All() {
		names = append(names, one.Name())
		assert.Equal(t, "http://demo:8082/"+one.Name(), one.RedactedURL())
	}
	assert.Equal(t, []string{"analytics-service", "notification-service", "compliance-service"}, names)
}
