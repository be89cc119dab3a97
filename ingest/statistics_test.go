package ingest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatistics_ShowWhetherTheGroupIsJoined(t *testing.T) {
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

func TestStatistics_ShowWhetherAllBrokersAreConnected(t *testing.T) {
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
