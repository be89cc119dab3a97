package devstack_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"

	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

func TestTemporalProxy_ForwardsRejectsAndIsSilent(t *testing.T) {
	ctx := deadline(t)
	temporal, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	proxy, err := devstack.StartTemporalProxy(ctx, temporal.Address())
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	c, err := client.NewLazyClient(client.Options{HostPort: proxy.Address(), Namespace: devstack.Namespace})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "forwarded", TaskQueue: "nobody"}, "Anything")
	require.NoError(t, err)
	assert.NotEmpty(t, run.GetRunID())
	_, err = c.DescribeWorkflowExecution(ctx, "unknown", "")
	require.ErrorAs(t, err, new(*serviceerror.NotFound), "the proxy keeps the error's details")

	describe := func(wait time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: devstack.Namespace})
		return err
	}
	proxy.Reject("DescribeNamespace", codes.PermissionDenied, "not you")
	require.ErrorContains(t, describe(await.Patience), "not you")
	proxy.Reject("DescribeNamespace", codes.OK, "")
	require.NoError(t, describe(await.Patience))

	proxy.Silence()
	require.ErrorAs(t, describe(time.Second), new(*serviceerror.DeadlineExceeded))
	proxy.EndSilence()
	require.NoError(t, describe(await.Patience))
}
