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

func TestTemporalProxy_DelaysAnswersAndLosesCalls(t *testing.T) {
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
	const method = "SignalWithStartWorkflowExecution"
	signal := func(id string, wait time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		_, err := c.SignalWithStartWorkflow(ctx, id, "s", nil, client.StartWorkflowOptions{TaskQueue: "nobody"}, "Anything")
		return err
	}

	proxy.DelayAnswers(method, time.Minute)
	require.ErrorAs(t, signal("delayed", time.Second), new(*serviceerror.DeadlineExceeded))
	_, err = c.DescribeWorkflowExecution(ctx, "delayed", "")
	require.NoError(t, err, "the server has got the call")
	proxy.DelayAnswers(method, 0)

	proxy.Lose(method, 1)
	require.ErrorAs(t, signal("lost", time.Second), new(*serviceerror.DeadlineExceeded))
	_, err = c.DescribeWorkflowExecution(ctx, "lost", "")
	require.ErrorAs(t, err, new(*serviceerror.NotFound), "the server has not got the call")
	assert.Equal(t, 1, proxy.Lost(method))
	require.NoError(t, signal("lost", await.Patience), "the next call is forwarded")
}
