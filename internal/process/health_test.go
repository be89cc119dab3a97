package process

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

func TestReadyz_AnswersByTheChecks(t *testing.T) {
	health := NewHealth("temporal", "kafka")
	server, err := Listen(t.Context(), "127.0.0.1:0", NewRegistry(), health)
	require.NoError(t, err)
	base := "http://" + server.Addr()

	for _, step := range []struct {
		change func()
		status int
		body   string
	}{
		{func() {}, 503, "kafka: starting\ntemporal: starting\n"},
		{func() { health.Set("kafka", nil) }, 503, "temporal: starting\n"},
		{func() { health.Set("temporal", nil) }, 200, "ready\n"},
		{func() { health.Set("temporal", errors.New("lost\n  twice")) }, 503, "temporal: lost twice\n"},
		{func() { health.Set("temporal", nil) }, 200, "ready\n"},
		{func() { health.Set("polling", errors.New("not yet")) }, 503, "polling: not yet\n"},
	} {
		step.change()
		status, body := get(t, base+"/readyz")
		assert.Equal(t, step.status, status)
		assert.Equal(t, step.body, body)
		status, _ = get(t, base+"/healthz")
		assert.Equal(t, 200, status, "a process that is not ready is alive")
	}

	status, metrics := get(t, base+"/metrics")
	assert.Equal(t, 200, status)
	assert.Contains(t, metrics, "go_goroutines")
	assert.Contains(t, metrics, "process_resident_memory_bytes")
	status, _ = get(t, base+"/elsewhere")
	assert.Equal(t, 404, status)

	require.NoError(t, server.Shutdown(context.WithoutCancel(t.Context())))
	second, err := Listen(t.Context(), server.Addr(), NewRegistry(), health)
	require.NoError(t, err, "the address is free again")
	require.NoError(t, second.Shutdown(t.Context()))
}

func TestHealth_WithoutChecksIsNotReady(t *testing.T) {
	assert.Equal(t, []string{"starting"}, NewHealth().NotReady())
}

func TestListen_NamesTheSettingIfTheAddressIsInUse(t *testing.T) {
	first, err := Listen(t.Context(), "127.0.0.1:0", NewRegistry(), NewHealth())
	require.NoError(t, err)
	defer func() { _ = first.Shutdown(context.WithoutCancel(t.Context())) }()

	_, err = Listen(t.Context(), first.Addr(), NewRegistry(), NewHealth())
	require.ErrorContains(t, err, "FANOUT_HTTP_ADDR: ")
	require.ErrorContains(t, err, first.Addr())
	assert.Equal(t, ExitFailure, exitStatus("worker", io.Discard, err, false))
}
