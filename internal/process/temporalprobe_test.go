package process

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"genesys-fanout/internal/devstack"
)

func probeOf(t *testing.T, env Env) *TemporalProbe {
	t.Helper()
	conn, _ := connection(t, env)
	probe, err := NewTemporalProbe(conn)
	require.NoError(t, err)
	t.Cleanup(probe.Close)
	return probe
}

// The probe must find out which attributes are missing without registering any.
func TestTemporalProbe_RegistersNothingOnARealServer(t *testing.T) {
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{})
	require.NoError(t, err)
	defer server.Close()
	probe := probeOf(t, Env{"TEMPORAL_ADDRESS": server.Address()})
	retention, err := probe.Namespace(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 24*time.Hour, retention)
	before, err := probe.client.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	require.NoError(t, err)
	for range 2 {
		found := probe.SearchAttributes(t.Context(), keys)
		require.NoError(t, found.Err)
		assert.Equal(t, []string{"Color", "Size", "Tags"}, found.Missing)
	}
	now, err := probe.client.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	require.NoError(t, err)
	assert.Equal(t, before.GetCustomAttributes(), now.GetCustomAttributes())

	conn, out := connection(t, Env{"TEMPORAL_ADDRESS": server.Address()})
	ok, err := EnsureSearchAttributes(t.Context(), probe.client, "default", keys, conn.Log)
	require.NoError(t, err)
	require.True(t, ok.Usable(), out.String())
	found := probe.SearchAttributes(t.Context(), keys)
	require.NoError(t, found.Err)
	assert.Empty(t, found.Missing)

	_, err = probeOf(t, Env{"TEMPORAL_ADDRESS": server.Address(), "TEMPORAL_NAMESPACE": "nowhere"}).Namespace(t.Context())
	var rejected *RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, codes.NotFound, rejected.Code)
}

// operator answers the calls about search attributes with the given errors.
type operator struct {
	operatorservice.UnimplementedOperatorServiceServer
	list, add error
	added     []int // how many each registration asked for
}

func (o *operator) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	return &operatorservice.ListSearchAttributesResponse{}, o.list
}

func (o *operator) AddSearchAttributes(_ context.Context, r *operatorservice.AddSearchAttributesRequest) (*operatorservice.AddSearchAttributesResponse, error) {
	o.added = append(o.added, len(r.GetSearchAttributes()))
	return &operatorservice.AddSearchAttributesResponse{}, o.add
}

func TestTemporalProbe_ReportsMissingRightsWithTheCommand(t *testing.T) {
	denied := status.Error(codes.PermissionDenied, "request unauthorized")
	for name, test := range map[string]struct {
		list, add error
		says      string
	}{
		"to list":             {list: denied, says: "the search attributes cannot be listed: PermissionDenied: request unauthorized"},
		"to register":         {add: denied, says: "this process may not register search attributes: PermissionDenied: request unauthorized"},
		"none":                {},
		"none, by a newcomer": {add: status.Error(codes.InvalidArgument, "nothing to add")},
	} {
		t.Run(name, func(t *testing.T) {
			server, listener := grpc.NewServer(), listen(t, "127.0.0.1:0")
			rights := &operator{list: test.list, add: test.add}
			operatorservice.RegisterOperatorServiceServer(server, rights)
			workflowservice.RegisterWorkflowServiceServer(server, &frontend{describe: func(context.Context, string) error { return nil }})
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(server.Stop)
			found := probeOf(t, Env{"TEMPORAL_ADDRESS": listener.Addr().String()}).SearchAttributes(t.Context(), keys)
			for _, n := range rights.added {
				assert.Zero(t, n, "it registers nothing")
			}
			if test.says == "" {
				require.NoError(t, found.Err)
				assert.Len(t, found.Missing, 3)
				return
			}
			require.EqualError(t, found.Err, test.says)
			assert.Contains(t, found.Command, "temporal operator search-attribute create --namespace default --name Color")
		})
	}
}
