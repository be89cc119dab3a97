package devstack_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// genesysClient calls the stand-in as ingest does.
type genesysClient struct {
	t *testing.T
	*devstack.Genesys
}

func (g genesysClient) send(req *http.Request) (int, http.Header, map[string]any) {
	g.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(g.t, err)
	defer func() { _ = resp.Body.Close() }()
	var body map[string]any
	require.NoError(g.t, json.NewDecoder(resp.Body).Decode(&body))
	return resp.StatusCode, resp.Header, body
}

func (g genesysClient) token(secret string) (int, map[string]any) {
	g.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"eventbridge:read"}}
	req, err := http.NewRequestWithContext(deadline(g.t), http.MethodPost, g.TokenURL(), strings.NewReader(form.Encode()))
	require.NoError(g.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(g.ClientID(), secret)
	status, _, body := g.send(req)
	return status, body
}

func (g genesysClient) details(token string) (int, http.Header, map[string]any) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(deadline(g.t), http.MethodGet, g.URL()+devstack.EventBridgePath, http.NoBody)
	require.NoError(g.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	return g.send(req)
}

func TestGenesys_AnswersConnectionDetailsToAValidToken(t *testing.T) {
	standIn, err := devstack.StartGenesys(deadline(t), devstack.GenesysOptions{
		Details: devstack.ConnectionDetails{BootstrapServers: "127.0.0.1:9094", SASLUsername: "u", SASLPassword: "p", Topics: []string{"one"}},
	})
	require.NoError(t, err)
	t.Cleanup(standIn.Close)
	g := genesysClient{t, standIn}

	status, rejected := g.token("wrong")
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, "invalid_client", rejected["error"])
	assert.NotEmpty(t, rejected["error_description"])

	status, granted := g.token(g.ClientSecret())
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, "eventbridge:read", g.Scope())
	token, ok := granted["access_token"].(string)
	require.True(t, ok)

	status, header, body := g.details(token)
	assert.Equal(t, http.StatusOK, status)
	assert.NotEmpty(t, header.Get("ININ-Correlation-Id"))
	assert.Equal(t, []any{"one"}, body["topics"])
	assert.Equal(t, map[string]any{"bootstrapServers": "127.0.0.1:9094", "saslUsername": "u", "saslPassword": "p"}, body["connectionDetails"])

	g.Fail(devstack.EventBridgePath, devstack.Failure{Status: http.StatusTooManyRequests, Header: http.Header{"retry-after": {"3"}}})
	status, header, body = g.details(token)
	assert.Equal(t, http.StatusTooManyRequests, status)
	assert.Equal(t, "3", header.Get("Retry-After"))
	assert.NotEmpty(t, body["contextId"])
	status, _, _ = g.details(token) // a failure is used once
	assert.Equal(t, http.StatusOK, status)

	g.RevokeTokens()
	status, _, body = g.details(token)
	assert.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, "bad.credentials", body["code"])
	assert.Equal(t, 4, g.Calls(devstack.EventBridgePath))
	assert.Equal(t, 2, g.Calls(devstack.TokenPath))
}
