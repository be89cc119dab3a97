package devstack_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"genesys-fanout/internal/devstack"
)

func TestTemporal_KeepsItsDataAfterAKill(t *testing.T) {
	ctx := deadline(t)
	temporal, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{DBFile: filepath.Join(t.TempDir(), "temporal.db")})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	address := temporal.Address()
	assert.Empty(t, temporal.UIURL())

	c, err := temporal.Client(ctx)
	require.NoError(t, err)
	defer c.Close()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody"}, "Anything")
	require.NoError(t, err)

	temporal.Kill()
	_, err = temporal.Client(ctx)
	require.Error(t, err)
	require.NoError(t, temporal.Start(ctx))
	assert.Equal(t, address, temporal.Address())
	described, err := c.DescribeWorkflowExecution(ctx, "kept", "")
	require.NoError(t, err)
	assert.Equal(t, run.GetRunID(), described.GetWorkflowExecutionInfo().GetExecution().GetRunId())
}

// Two servers can run at the same time.
func TestTemporal_ServesItsUI(t *testing.T) {
	ctx := deadline(t)
	urls := make(map[string]bool)
	for range 2 {
		temporal, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{UI: true})
		require.NoError(t, err)
		t.Cleanup(temporal.Close)
		urls[temporal.UIURL()] = true
	}
	require.Len(t, urls, 2)
	for url := range urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusOK, resp.StatusCode)
	}
}

func TestStartTemporal_MissingCLIErrorSaysHowToBuildIt(t *testing.T) {
	t.Setenv("TEMPORAL_CLI", filepath.Join(t.TempDir(), "temporal"))
	_, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{})
	require.ErrorContains(t, err, "make tools")
}
