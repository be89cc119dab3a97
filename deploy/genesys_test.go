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

// topic is what ingest reads unless it is told otherwise.
const topic = "genesys-cloud-interaction-events"

// genesysFile reads a file of deploy/genesys, and asserts that no member stands
// in it twice and that every member is one of those that docs/genesys.md explains.
func genesysFile(t *testing.T, name string, into any) {
	t.Helper()
	content := read(t, filepath.Join("deploy", "genesys", name))
	require.NoError(t, unique(json.NewDecoder(bytes.NewReader(content)), name))
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(into), name)
	_, err := decoder.Token()
	require.ErrorIs(t, err, io.EOF, "%s: something stands behind the document", name)
	assert.NotRegexp(t, `(?i)"(password|secret[a-z.]*|aws_secret_access_key)"\s*:\s*"[^$]`, string(content), "%s: a secret is a placeholder", name)
	for _, account := range regexp.MustCompile(`\b\d{12}\b`).FindAllString(string(content), -1) {
		assert.Fail(t, "an account number", "%s: %s; write ${AWS_ACCOUNT_ID}", name, account)
	}
}

// unique refuses an object with a member twice: most parsers keep the last.
func unique(d *json.Decoder, path string) error {
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
				return fmt.Errorf("%s: %v stands there twice", path, name)
			}
			seen[name] = true
			member = fmt.Sprintf("%s.%v", path, name)
		}
		if err := unique(d, member); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func TestMembersTwice(t *testing.T) {
	require.NoError(t, unique(json.NewDecoder(strings.NewReader(`{"a":[{"b":1},{"b":2}],"b":{"a":1}}`)), "x"))
	require.EqualError(t, unique(json.NewDecoder(strings.NewReader(`{"a":[{"b":1,"c":2,"b":3}]}`)), "x"), "x.a: b stands there twice")
}

// TestTheRuleMatchesTheShapes: what Genesys publishes is what the rule takes.
func TestTheRuleMatchesTheShapes(t *testing.T) {
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
	genesysFile(t, "rule.json", &rule)
	require.Len(t, rule.EventPattern.Source, 1)
	prefix := rule.EventPattern.Source[0].Prefix
	assert.True(t, strings.HasPrefix(rule.EventBusName, prefix))
	assert.NotEmpty(t, rule.Target.DeadLetterConfig.Arn, "without one, what is not delivered is dropped")
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
	genesysFile(t, "queue-policy.json", &policy)
	require.Len(t, policy.Statement, 1)
	assert.Equal(t, rule.Target.Arn, policy.Statement[0].Resource, "the queue that the rule sends to")
	assert.Contains(t, policy.Statement[0].Condition["ArnLike"]["aws:SourceArn"], "/"+rule.Name, "and nobody else")
}

// TestTheConnector: what it writes has the shape that package event reads.
func TestTheConnector(t *testing.T) {
	var connector struct {
		Name   string            `json:"name"`
		Config map[string]string `json:"config"`
	}
	genesysFile(t, "sqs-source-connector.json", &connector)
	for _, name := range []string{"connector.class", "tasks.max", "sqs.url", "confluent.topic.bootstrap.servers"} {
		assert.NotEmpty(t, connector.Config[name], name)
	}
	assert.Equal(t, topic, connector.Config["kafka.topic"])
	assert.Equal(t, "none", connector.Config["errors.tolerance"], "a record that cannot be written must not be left out")
	for _, side := range []string{"key", "value"} {
		assert.Equal(t, "org.apache.kafka.connect.json.JsonConverter", connector.Config[side+".converter"])
		assert.Equal(t, "false", connector.Config[side+".converter.schemas.enable"], "with schemas, body would stand one level deeper")
	}
	assert.True(t, strings.HasPrefix(connector.Config["confluent.license"], "${file:"), "a secret")

	message, err := shapes.Files.ReadFile("wrapped.sqs.json")
	require.NoError(t, err)
	read, err := event.Decode(message)
	require.NoError(t, err)
	assert.Equal(t, event.Wrapped, read.Format)
	withSchema := fmt.Appendf(nil, `{"schema":{},"payload":%s}`, message)
	read, err = event.Decode(withSchema)
	require.NoError(t, err)
	assert.Equal(t, event.Other, read.Format, "which is why")
}

func TestTheKafkaTarget(t *testing.T) {
	var target struct {
		TargetArn              string
		MskParameters          struct{ TopicName, Connectivity string }
		RetryPolicy            struct{ MaxRetryAttempts, MaxEventAgeInSeconds int }
		OnFailureConfiguration struct{ Arn string }
	}
	genesysFile(t, "msk-target.json", &target)
	assert.Equal(t, topic, target.MskParameters.TopicName)
	assert.Equal(t, 24*60*60, target.RetryPolicy.MaxEventAgeInSeconds, "its default is five minutes")
	assert.NotEmpty(t, target.OnFailureConfiguration.Arn, "without one, what is not delivered is dropped")

	message, err := shapes.Files.ReadFile("envelope.kafka-target.json")
	require.NoError(t, err)
	read, err := event.Decode(message)
	require.NoError(t, err)
	assert.Equal(t, event.Envelope, read.Format)
	assert.NotEmpty(t, read.ID, "by its bytes")
}
