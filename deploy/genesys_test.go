package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/event/shapes"
)

// topic is the default topic of ingest.
const topic = "genesys-cloud-interaction-events"

// decodeGenesysFile decodes a file of deploy/genesys. It fails the test if the file has
// a member twice, a member that into lacks, a secret, or an account number. The fields
// of into are those that docs/genesys.md explains.
func decodeGenesysFile(t *testing.T, name string, into any) {
	t.Helper()
	content := read(t, filepath.Join("deploy", "genesys", name))
	require.NoError(t, checkUniqueMembers(json.NewDecoder(bytes.NewReader(content)), name))
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(into), name)
	_, err := decoder.Token()
	require.ErrorIs(t, err, io.EOF, "%s: the file has text after the JSON document", name)
	assert.NotRegexp(t, `(?i)"(password|secret[a-z.]*|aws_secret_access_key)"\s*:\s*"[^$]`, string(content), "%s: contains a secret; write a placeholder instead", name)
	for _, account := range regexp.MustCompile(`\b\d{12}\b`).FindAllString(string(content), -1) {
		assert.Fail(t, "the file contains an account number", "%s: %s; write ${AWS_ACCOUNT_ID}", name, account)
	}
}

// checkUniqueMembers returns an error if an object has a member twice, because most
// parsers silently keep the last one.
func checkUniqueMembers(d *json.Decoder, path string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, isOpen := token.(json.Delim)
	if !isOpen {
		return nil
	}
	seen := map[any]bool{}
	for d.More() {
		member := path
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name] {
				return fmt.Errorf("%s: the member %v occurs twice", path, name)
			}
			seen[name] = true
			member = fmt.Sprintf("%s.%v", path, name)
		}
		if err := checkUniqueMembers(d, member); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func TestCheckUniqueMembers_RejectsADuplicate(t *testing.T) {
	require.NoError(t, checkUniqueMembers(json.NewDecoder(strings.NewReader(`{"a":[{"b":1},{"b":2}],"b":{"a":1}}`)), "x"))
	require.EqualError(t, checkUniqueMembers(json.NewDecoder(strings.NewReader(`{"a":[{"b":1,"c":2,"b":3}]}`)), "x"), "x.a: the member b occurs twice")
}

// The rule must match every event that Genesys Cloud publishes.
func TestRule_MatchesEveryEnvelope(t *testing.T) {
	var rule struct {
		Name, EventBusName, State string
		EventPattern              struct {
			Source []struct {
				Prefix string `json:"prefix"`
			} `json:"source"`
		}
		Target struct {
			ID               string `json:"Id"`
			Arn              string
			RetryPolicy      struct{ MaximumRetryAttempts, MaximumEventAgeInSeconds int }
			DeadLetterConfig struct{ Arn string }
		}
	}
	decodeGenesysFile(t, "rule.json", &rule)
	require.Len(t, rule.EventPattern.Source, 1)
	prefix := rule.EventPattern.Source[0].Prefix
	assert.True(t, strings.HasPrefix(rule.EventBusName, prefix))
	assert.NotEmpty(t, rule.Target.DeadLetterConfig.Arn, "without one, EventBridge drops events that it cannot deliver")
	assert.Equal(t, 24*60*60, rule.Target.RetryPolicy.MaximumEventAgeInSeconds)

	files, err := fs.Glob(shapes.Files, "envelope.*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		var envelope struct{ Source string }
		content, err := shapes.Files.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(content, &envelope))
		assert.True(t, strings.HasPrefix(envelope.Source, prefix), "%s comes from %s", file, envelope.Source)
	}

	var policy struct {
		Version   string
		Statement []struct {
			Sid, Effect, Action, Resource string
			Principal                     struct{ Service string }
			Condition                     map[string]map[string]string
		}
	}
	decodeGenesysFile(t, "queue-policy.json", &policy)
	require.Len(t, policy.Statement, 1)
	assert.Equal(t, rule.Target.Arn, policy.Statement[0].Resource, "the rule must be allowed to send to its queue")
	assert.Contains(t, policy.Statement[0].Condition["ArnLike"]["aws:SourceArn"], "/"+rule.Name, "only this rule must be allowed")
}

// The connector must write messages that package event can decode.
func TestConnector_WritesMessagesThatCanBeDecoded(t *testing.T) {
	var connector struct {
		Name   string            `json:"name"`
		Config map[string]string `json:"config"`
	}
	decodeGenesysFile(t, "sqs-source-connector.json", &connector)
	for _, name := range []string{"connector.class", "tasks.max", "sqs.url", "confluent.topic.bootstrap.servers"} {
		assert.NotEmpty(t, connector.Config[name], name)
	}
	assert.Equal(t, topic, connector.Config["kafka.topic"])
	assert.Equal(t, "none", connector.Config["errors.tolerance"], "the connector must stop instead of dropping a record")
	for _, side := range []string{"key", "value"} {
		assert.Equal(t, "org.apache.kafka.connect.json.JsonConverter", connector.Config[side+".converter"])
		assert.Equal(t, "false", connector.Config[side+".converter.schemas.enable"], "with schemas, body would be one level deeper")
	}
	assert.True(t, strings.HasPrefix(connector.Config["confluent.license"], "${file:"), "the licence is a secret, so it must come from a file")

	message, err := shapes.Files.ReadFile("wrapped.sqs.json")
	require.NoError(t, err)
	read, err := event.Decode(message)
	require.NoError(t, err)
	assert.Equal(t, event.Wrapped, read.Format)
	withSchema := fmt.Appendf(nil, `{"schema":{},"payload":%s}`, message)
	read, err = event.Decode(withSchema)
	require.NoError(t, err)
	assert.Equal(t, event.Other, read.Format, "hence schemas.enable must be false")
}

func TestKafkaTarget_SendsEventsThatCanBeDecoded(t *testing.T) {
	var target struct {
		TargetArn              string
		MskParameters          struct{ TopicName, Connectivity string }
		RetryPolicy            struct{ MaxRetryAttempts, MaxEventAgeInSeconds int }
		OnFailureConfiguration struct{ Arn string }
	}
	decodeGenesysFile(t, "msk-target.json", &target)
	assert.Equal(t, topic, target.MskParameters.TopicName)
	assert.Equal(t, 24*60*60, target.RetryPolicy.MaxEventAgeInSeconds, "its default is five minutes")
	assert.NotEmpty(t, target.OnFailureConfiguration.Arn, "without one, EventBridge drops events that it cannot deliver")

	message, err := shapes.Files.ReadFile("envelope.kafka-target.json")
	require.NoError(t, err)
	read, err := event.Decode(message)
	require.NoError(t, err)
	assert.Equal(t, event.Envelope, read.Format)
	assert.NotEmpty(t, read.ID, "without a root id, the id comes from the bytes")
}
