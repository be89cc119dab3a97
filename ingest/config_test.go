package ingest

import (
	"maps"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckExtra_RejectsReservedAndUnknownSettings(t *testing.T) {
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

func TestConsumerConfig(t *testing.T) {
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

func TestCheckOAuthBearer_NamesTheMissingSetting(t *testing.T) {
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
