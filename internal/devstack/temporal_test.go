package devstack_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"genesys-fanout/internal/devstack"
)

func TestTemporalKeepsItsDataThroughAKill(t *testing.T) {
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

func TestTemporalNamesTheCureForAMissingCLI(t *testing.T) {
	t.Setenv("TEMPORAL_CLI", filepath.Join(t.TempDir(), "temporal"))
	_, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{})
	require.ErrorContains(t, err, "make tools")
}
