package ingest

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckExtra(t *testing.T) {
	assert.NoError(t, CheckExtra(nil))
	assert.NoError(t, CheckExtra(map[string]string{"fetch.wait.max.ms": "100", "debug": "cgrp"}))
	for name, want := range map[string]string{
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
		assert.ErrorContains(t, CheckExtra(map[string]string{"group.protocol": protocol}), "built on the rebalances of classic")
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
	m := config(Options{GroupID: "g", Reset: "earliest", Extra: map[string]string{"session.timeout.ms": "6000"}},
		Connection{BootstrapServers: "b:1", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "u", SASLPassword: "p", CALocation: "/ca"})
	for name, want := range map[string]kafka.ConfigValue{
		"enable.auto.commit": false, "enable.auto.offset.store": false, "group.id": "g", "auto.offset.reset": "earliest",
		"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p", "ssl.ca.location": "/ca",
		"session.timeout.ms": "6000",
	} {
		assert.Equal(t, want, m[name], name)
	}
	plain := config(Options{}, Connection{SecurityProtocol: "PLAINTEXT", SASLUsername: "u"})
	assert.NotContains(t, plain, "sasl.username")
}

func TestRefusedErrorNamesTheCureAndNoSecret(t *testing.T) {
	inner := errors.New("SCRAM: invalid credentials")
	err := &RefusedError{Connection: Connection{BootstrapServers: "b:9094", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "u", SASLPassword: "hunter2"}, Err: inner}
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
