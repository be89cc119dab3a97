package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckExtra(t *testing.T) {
	assert.NoError(t, CheckExtra(nil))
	assert.NoError(t, CheckExtra(map[string]string{"fetch.wait.max.ms": "100", "debug": "cgrp"}))
	for name, want := range map[string]string{
		"enable.partition.eof":     "may not be set",
		"auto.offset.reset":        "KAFKA_AUTO_OFFSET_RESET",
		"enable.auto.commit":       "may not be set",
		"enable.auto.offset.store": "may not be set",
		"group.id":                 "may not be set",
		"bootstrap.servers":        "may not be set",
		"metadata.broker.list":     "may not be set",
		"auto.commit.enable":       "may not be set",
		"go.events.channel.enable": "may not be set",
		"statistics.interval.ms":   "/readyz",
		"group.protocol":           "classic",
		"no.such.setting":          "no.such.setting",
	} {
		assert.ErrorContains(t, CheckExtra(map[string]string{name: "x"}), want)
	}
	for _, protocol := range []string{"consumer", "CONSUMER", ""} {
		assert.ErrorContains(t, CheckExtra(map[string]string{"group.protocol": protocol}), "supports only classic")
	}
	for _, protocol := range []string{"classic", "Classic"} {
		assert.NoError(t, CheckExtra(map[string]string{"group.protocol": protocol}))
	}
	assert.ErrorContains(t, CheckExtra(map[string]string{"fetch.wait.max.ms": "soon"}), "fetch.wait.max.ms")
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	_, err := New(Options{})
	require.ErrorContains(t, err, "Options.Connect")
}

func TestConfig(t *testing.T) {
	m := ConsumerConfig("g", Connection{
		BootstrapServers: "b:1", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "u", SASLPassword: "p", CALocation: "/ca",
		Extra: map[string]string{"session.timeout.ms": "6000"},
	})
	for name, want := range map[string]kafka.ConfigValue{
		"enable.auto.commit": false, "enable.auto.offset.store": false, "group.id": "g", "auto.offset.reset": "earliest",
		"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p", "ssl.ca.location": "/ca",
		"session.timeout.ms": "6000",
	} {
		assert.Equal(t, want, m[name], name)
	}
	tokens := ConsumerConfig("g", Connection{SecurityProtocol: "SASL_SSL", SASLMechanism: OAuthBearer, SASLUsername: "u", SASLPassword: "p"})
	assert.Equal(t, "OAUTHBEARER", tokens["sasl.mechanisms"])
	assert.NotContains(t, tokens, "sasl.password")
	plain := ConsumerConfig("g", Connection{SecurityProtocol: "PLAINTEXT", SASLUsername: "u"})
	assert.NotContains(t, plain, "sasl.username")
}

func TestCheckOAuthBearer(t *testing.T) {
	whole := map[string]string{
		"sasl.oauthbearer.method": "OIDC", "sasl.oauthbearer.client.id": "i", "sasl.oauthbearer.client.secret": "s", "sasl.oauthbearer.token.endpoint.url": "u",
	}
	assert.Empty(t, CheckOAuthBearer(whole))
	for name := range whole {
		less := maps.Clone(whole)
		delete(less, name)
		assert.Contains(t, CheckOAuthBearer(less), name)
	}
	require.NoError(t, CheckExtra(whole))
	renamed := map[string]string{
		"sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.credentials.client.id": "i",
		"sasl.oauthbearer.client.credentials.client.secret": "s", "sasl.oauthbearer.token.endpoint.url": "u",
	}
	assert.Empty(t, CheckOAuthBearer(renamed))
	require.NoError(t, CheckExtra(renamed))
	assertion := map[string]string{
		"sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.grant.type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "sasl.oauthbearer.token.endpoint.url": "u",
	}
	assert.Empty(t, CheckOAuthBearer(assertion))
}

// TestConnection_Redacts what librdkafka may quote of its settings.
func TestConnection_Redacts(t *testing.T) {
	c := Connection{SASLPassword: "hush-1", Extra: map[string]string{
		"sasl.oauthbearer.client.secret": "hush-2", "ssl.key.password": "hush-3", "ssl.key.pem": "hush-4",
		"sasl.oauthbearer.assertion.private.key.passphrase": "hush-5", "client.rack": "rack", "ssl.keystore.password": "",
	}}
	text := c.redactor().String("hush-1 hush-2 hush-3 hush-4 hush-5 rack")
	assert.Equal(t, "[redacted] [redacted] [redacted] [redacted] [redacted] rack", text)
	err := c.RedactError(kafka.NewError(kafka.ErrAuthentication, "no hush-1", false))
	assert.EqualError(t, err, "no [redacted]")
	assert.True(t, IsAuthenticationError(err))
	assert.NoError(t, c.RedactError(nil))
}

func TestLines_OnceIn30SecondsOfEachKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lineLimiter
		var logged []string
		began := time.Now()
		for _, line := range []struct {
			after time.Duration
			kind  string
		}{{0, "a"}, {1, "a"}, {1, "b"}, {29, "a"}, {30, "a"}, {31, "a"}, {3600, "c"}} {
			<-time.After(time.Until(began.Add(line.after * time.Second)))
			if times, due := l.occurred(line.kind); due {
				logged = append(logged, fmt.Sprint(line.kind, times))
			}
		}
		assert.Equal(t, []string{"a1", "b1", "a3", "c1"}, logged)
		for n := range 2 * maxLineKinds {
			l.occurred(fmt.Sprint(n))
		}
		assert.LessOrEqual(t, len(l.kinds), maxLineKinds)
	})
}

func TestRefusedErrorNamesTheCureAndNoSecret(t *testing.T) {
	inner := errors.New("SCRAM: invalid credentials")
	err := &CredentialsError{Connection: Connection{BootstrapServers: "b:9094", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "u", SASLPassword: "hunter2"}, Err: inner}
	require.ErrorIs(t, err, inner)
	for _, part := range []string{"b:9094", `"u"`, "SCRAM-SHA-512", "KAFKA_SASL_PASSWORD", "port"} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error(), "hunter2")
}

func TestStatisticsTellWhetherTheGroupIsJoined(t *testing.T) {
	for text, want := range map[string]bool{
		`{"brokers":{"b":{"nodeid":1,"state":"UP"}},"cgrp":{"state":"up","join_state":"steady"}}`:                                 true,
		`{"brokers":{"b":{"nodeid":1,"state":"DOWN"},"c":{"nodeid":2,"state":"UP"}},"cgrp":{"state":"up","join_state":"steady"}}`: true,
		`{"brokers":{"b":{"nodeid":1,"state":"TRY_CONNECT"}},"cgrp":{"state":"up","join_state":"steady"}}`:                        false,
		`{"brokers":{"bootstrap":{"nodeid":-1,"state":"UP"}},"cgrp":{"state":"up","join_state":"steady"}}`:                        false,
		`{"brokers":{"b":{"nodeid":1,"state":"UP"}},"cgrp":{"state":"up","join_state":"wait-join"}}`:                              false,
		`{"brokers":{"b":{"nodeid":1,"state":"UP"}},"cgrp":{"state":"query-coord","join_state":"steady"}}`:                        false,
		`{}`: false,
	} {
		var stats statistics
		require.NoError(t, json.Unmarshal([]byte(text), &stats))
		assert.Equal(t, want, stats.joined(), text)
	}
}

func TestStatistics_SettledMeansNoBrokerIsLeftOut(t *testing.T) {
	for text, want := range map[string]bool{
		`{"brokers":{"a":{"state":"UP"},"b":{"state":"INIT"}}}`:     true,
		`{"brokers":{"a":{"state":"UP"},"b":{"state":"AUTH_REQ"}}}`: false,
		`{"brokers":{"a":{"state":"UP"},"b":{"state":"DOWN"}}}`:     false,
	} {
		var stats statistics
		require.NoError(t, json.Unmarshal([]byte(text), &stats))
		assert.Equal(t, want, stats.allConnected(), text)
	}
}
