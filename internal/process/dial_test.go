package process

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"genesys-fanout/internal/await"
)

// frontend is a Temporal frontend with the one call that the tests need.
type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer
	describe func(ctx context.Context, namespace string) error
}

func (f *frontend) DescribeNamespace(ctx context.Context, request *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	return &workflowservice.DescribeNamespaceResponse{}, f.describe(ctx, request.GetNamespace())
}

// serve starts the frontend on listener. It answers the calls of the operator service with
// Unimplemented.
func (f *frontend) serve(t *testing.T, listener net.Listener) {
	t.Helper()
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, f)
	operatorservice.RegisterOperatorServiceServer(server, operatorservice.UnimplementedOperatorServiceServer{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	return listener
}

// syncBuffer is a buffer for the log lines of several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func connection(t *testing.T, env Env) (DialOptions, *syncBuffer) {
	t.Helper()
	problems := &Problems{}
	temporal := ParseTemporal(env, problems)
	require.NoError(t, problems.Err())
	out := &syncBuffer{}
	return DialOptions{Temporal: temporal, Log: Logger(out, "debug", "text"), Health: NewHealth(CheckTemporal)}, out
}

func TestDial_FailsWithCodeAndCureIfTemporalRejectsIt(t *testing.T) {
	for name, test := range map[string]struct {
		code codes.Code
		cure string
	}{
		"credentials": {codes.Unauthenticated, "TEMPORAL_API_KEY"},
		"rights":      {codes.PermissionDenied, "TEMPORAL_API_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []string
			listener := listen(t, "127.0.0.1:0")
			(&frontend{describe: func(ctx context.Context, _ string) error {
				header, _ := metadata.FromIncomingContext(ctx)
				sent = header.Get("authorization")
				return status.Error(test.code, "request unauthorized")
			}}).serve(t, listener)
			conn, out := connection(t, Env{
				"TEMPORAL_ADDRESS": listener.Addr().String(), "TEMPORAL_NAMESPACE": "fanout",
				"TEMPORAL_API_KEY": "hunter2", "TEMPORAL_TLS": "false",
			})

			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := Dial(ctx, conn)
			var rejected *RejectedError
			require.ErrorAs(t, err, &rejected)
			assert.Equal(t, test.code, rejected.Code)
			assert.Equal(t, test.code, serviceerror.ToStatus(errors.Unwrap(err)).Code())
			for _, want := range []string{listener.Addr().String(), `DescribeNamespace "fanout"`, test.code.String(), "request unauthorized", test.cure} {
				assert.ErrorContains(t, err, want)
			}
			assert.Equal(t, ExitFailure, exitStatus("worker", out, err, false))
			assert.Equal(t, []string{"Bearer hunter2"}, sent, "the key was sent")
			assert.NotContains(t, out.String(), "hunter2")
			assert.NotEmpty(t, conn.Health.NotReady())
		})
	}
}

func TestDial_WaitsUntilTemporalAnswers(t *testing.T) {
	vacant := listen(t, "127.0.0.1:0")
	address := vacant.Addr().String()
	require.NoError(t, vacant.Close())
	conn, out := connection(t, Env{"TEMPORAL_ADDRESS": address})

	type dialed struct {
		client client.Client
		err    error
	}
	result := make(chan dialed, 1)
	go func() {
		c, err := Dial(t.Context(), conn)
		result <- dialed{c, err}
	}()
	await.True(t, "the line that Temporal does not answer", func() bool { return strings.Contains(out.String(), "waiting for Temporal") })
	assert.Contains(t, out.String(), address)
	assert.Contains(t, out.String(), "connection refused")
	assert.Contains(t, conn.Health.NotReady()[0], "temporal: Unavailable: ")
	require.Empty(t, result)

	(&frontend{describe: func(context.Context, string) error { return nil }}).serve(t, listen(t, address))
	got := <-result
	require.NoError(t, got.err)
	got.client.Close()
	assert.Empty(t, conn.Health.NotReady())
	assert.Contains(t, out.String(), "Temporal answers again")
}

func TestDial_EndsWithItsContext(t *testing.T) {
	vacant := listen(t, "127.0.0.1:0")
	require.NoError(t, vacant.Close())
	conn, _ := connection(t, Env{"TEMPORAL_ADDRESS": vacant.Addr().String()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Dial(ctx, conn)
	require.ErrorIs(t, err, context.Canceled)
}
