package devstack

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
)

// TestTemporalServer needs what make tools-postgres builds, and PostgreSQL.
func TestTemporalServer(t *testing.T) {
	if os.Getenv("TEST_POSTGRES") == "" {
		t.Skip("TEST_POSTGRES is not set: make test-postgres sets it")
	}
	server, err := StartTemporalServer(t.Context())
	require.NoError(t, err)
	t.Cleanup(server.Close)
	c, err := server.Client(t.Context())
	require.NoError(t, err)
	defer c.Close()
	before, err := server.Writes(t.Context())
	require.NoError(t, err)
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "one", TaskQueue: "nobody-polls"}, "Any")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		after, err := server.Writes(t.Context())
		return err == nil && after.Inserts > before.Inserts && after.Transactions > before.Transactions
	}, 30*time.Second, 100*time.Millisecond, "the database counts what was written")
	used, err := server.CPU()
	require.NoError(t, err)
	assert.Positive(t, used)
}
