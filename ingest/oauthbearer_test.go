package ingest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// startWithTokens starts a broker and the token endpoint that it trusts.
func startWithTokens(t *testing.T, life, reauthenticate time.Duration) (*devstack.Kafka, *devstack.TokenEndpoint) {
	t.Helper()
	tokens, err := devstack.StartTokenEndpoint(t.Context(), life)
	require.NoError(t, err)
	t.Cleanup(tokens.Close)
	broker, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{
		Dir: t.TempDir(), Topics: map[string]int32{topic: 1}, Backend: devstack.BackendKfake, Tokens: tokens, Reauthenticate: reauthenticate,
	})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	return broker, tokens
}

// byTokens connects with tokens of the endpoint.
func byTokens(broker *devstack.Kafka, tokens *devstack.TokenEndpoint) func(*Options) {
	return func(o *Options) {
		o.Connect = func(context.Context) (Connection, error) {
			c := connectionTo(broker)
			c.SASLMechanism, c.SASLUsername, c.SASLPassword = OAuthBearer, "", ""
			c.Extra = tokens.LibrdkafkaSettings()
			return c, nil
		}
	}
}

// ingest gets its tokens from the endpoint, and keeps its last token while the endpoint is
// away.
func TestIngest_OAuthBearerSurvivesAnAbsentTokenEndpoint(t *testing.T) {
	t.Parallel()
	const life = 10 * time.Second // librdkafka requests a new token after 8 s
	broker, tokens := startWithTokens(t, life, 0)
	server := newTemporal()
	m := run(t, broker, server, byTokens(broker, tokens))
	produce(t, broker, 0, 0, 5)
	wait(t, func() bool { return committed(t, broker, 0) == 5 && m.ready() }, "consumes")
	assert.Equal(t, 1, tokens.Calls())
	assert.Equal(t, "kafka", tokens.Scope())
	tokens.Stop()
	wait(t, func() bool { return strings.Contains(m.log.text(), "Failed to acquire SASL OAUTHBEARER token") }, "reported")
	produce(t, broker, 0, 5, 10)
	wait(t, func() bool { return committed(t, broker, 0) == 10 && m.ready() }, "continues")
	require.NoError(t, tokens.Start(t.Context()))
	wait(t, func() bool { return tokens.Calls() > 1 }, "asks again")
	assert.NotContains(t, m.log.text(), "reading the connection details again")
	assert.NotContains(t, m.log.text(), tokens.Secret())
}

// The error names the settings and no secret.
func TestIngest_OAuthBearerRejectedAtTheStartNamesTheCure(t *testing.T) {
	t.Parallel()
	broker, tokens := startWithTokens(t, time.Minute, 0)
	began := time.Now()
	m := run(t, broker, newTemporal(), all(byTokens(broker, tokens), func(*Options) { tokens.SetSecret("another") }, func(o *Options) {
		connect := o.Connect
		o.Connect = func(ctx context.Context) (Connection, error) {
			c, err := connect(ctx)
			c.Extra["sasl.oauthbearer.client.secret"] = "hush-secret"
			return c, err
		}
	}))
	err := m.end(t)
	var rejected *CredentialsError
	require.ErrorAs(t, err, &rejected)
	assert.Less(t, time.Since(began), 20*time.Second)
	assert.ErrorContains(t, err, "sasl.oauthbearer settings in KAFKA_OPTIONS")
	assert.NotContains(t, err.Error()+m.log.text(), "hush-secret")
	assert.NotContains(t, err.Error(), "KAFKA_SASL_PASSWORD")
}

// When the last token has expired, ingest reads the settings again.
func TestIngest_OAuthBearerSecretMayRotate(t *testing.T) {
	t.Parallel()
	broker, tokens := startWithTokens(t, 5*time.Second, 2*time.Second)
	server := newTemporal()
	m := run(t, broker, server, byTokens(broker, tokens))
	produce(t, broker, 0, 0, 5)
	wait(t, func() bool { return committed(t, broker, 0) == 5 && m.ready() }, "the old secret")
	tokens.SetSecret("rotated-secret")
	wait(t, func() bool { return strings.Contains(m.log.text(), "reading the connection details again") }, "rejected")
	produce(t, broker, 0, 5, 10)
	wait(t, func() bool { return committed(t, broker, 0) == 10 && m.ready() }, "the new one")
	for n := range 10 {
		assert.Equal(t, 1, server.tried(id(n)))
	}
	assert.NotContains(t, m.log.text(), "rotated-secret")
}
