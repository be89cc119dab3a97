package process

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// answering returns a probe whose result depends on the time since answering was called.
func answering(answer func(elapsed time.Duration) error) func(context.Context) error {
	start := time.Now()
	return func(context.Context) error { return answer(time.Since(start)) }
}

func monitorOf(probe func(context.Context) error) (*namespaceMonitor, *bytes.Buffer) {
	out := &bytes.Buffer{}
	return newNamespaceMonitor(probe, NewHealth(CheckTemporal), slog.New(slog.NewTextHandler(out, nil))), out
}

func TestDial_FailsOnlyIfARejectionOfTheNamespaceLasts(t *testing.T) {
	notFound := status.Error(codes.NotFound, "namespace not found")
	unavailable := status.Error(codes.Unavailable, "starting")
	for name, test := range map[string]struct {
		answer func(time.Duration) error
		err    error
		after  time.Duration
	}{
		"for ever": {func(time.Duration) error { return notFound }, notFound, 10 * time.Second},
		"for a moment": {func(elapsed time.Duration) error {
			if elapsed < 9*time.Second {
				return notFound
			}
			return nil
		}, nil, 9 * time.Second},
		"anew after an outage": {func(elapsed time.Duration) error {
			if elapsed == 8*time.Second {
				return unavailable
			}
			return notFound
		}, notFound, 19 * time.Second},
		"credentials need not last": {func(time.Duration) error { return status.Error(codes.Unauthenticated, "no") }, status.Error(codes.Unauthenticated, "no"), 0},
		"unreachable is not a rejection": {func(elapsed time.Duration) error {
			if elapsed < 24*time.Hour {
				return unavailable
			}
			return nil
		}, nil, 24 * time.Hour},
		"busy is not a rejection": {func(elapsed time.Duration) error {
			if elapsed < time.Hour {
				return status.Error(codes.ResourceExhausted, "busy")
			}
			return nil
		}, nil, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				m, _ := monitorOf(answering(test.answer))
				ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour) // of the bubble's clock
				defer cancel()
				err := m.await(ctx)
				assert.Equal(t, test.err, err)
				assert.Equal(t, test.after, time.Since(start))
				assert.Equal(t, err == nil, len(m.health.NotReady()) == 0)
			})
		})
	}
}

func TestDial_LogsAnOutageAtOnceAndEvery30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, out := monitorOf(answering(func(elapsed time.Duration) error {
			if elapsed < 95*time.Second {
				return status.Error(codes.Unavailable, "away")
			}
			return nil
		}))
		require.NoError(t, m.await(t.Context()))
		assert.Equal(t, 4, strings.Count(out.String(), "waiting for Temporal"), out.String()) // at 0, 30, 60 and 90 s
		assert.Equal(t, 1, strings.Count(out.String(), "Temporal answers again"))
	})
}

func TestWatchTemporal_SetsReadinessWithin20Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lost, back = 51 * time.Second, 111 * time.Second
		start := time.Now()
		m, out := monitorOf(func(ctx context.Context) error {
			if elapsed := time.Since(start); elapsed < lost || elapsed >= back {
				return nil
			}
			// Temporal does not even reject the call, so the call runs into its timeout.
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			<-ctx.Done()
			return serviceerror.NewDeadlineExceeded("timeout")
		})
		go m.watch(t.Context())
		// The sleeps move the bubble's clock and take no time.
		readyAt := func(elapsed time.Duration) bool {
			time.Sleep(time.Until(start.Add(elapsed)))
			synctest.Wait()
			return len(m.health.NotReady()) == 0
		}
		assert.True(t, readyAt(lost-time.Second))
		assert.False(t, readyAt(lost+20*time.Second))
		assert.False(t, readyAt(back))
		assert.True(t, readyAt(back+probeTimeout+retryInterval), "by itself")
		assert.Equal(t, 2, strings.Count(out.String(), "waiting for Temporal"), out.String())
		assert.Equal(t, 1, strings.Count(out.String(), "answers again"))
	})
}

func TestWatchTemporal_IgnoresAProbeThatItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m, out := monitorOf(func(context.Context) error {
		cancel()
		return serviceerror.NewCanceled("context canceled")
	})
	m.health.Set(CheckTemporal, nil)
	require.ErrorIs(t, m.check(ctx), context.Canceled)
	assert.Empty(t, m.health.NotReady())
	assert.Empty(t, out.String())
}

func TestWatchTemporal_DescribesTheNamespace(t *testing.T) {
	var mu sync.Mutex
	var answer error
	listener := listen(t, "127.0.0.1:0")
	asked := make(chan string, 100)
	(&frontend{describe: func(_ context.Context, namespace string) error {
		mu.Lock()
		defer mu.Unlock()
		asked <- namespace
		return answer
	}}).serve(t, listener)
	conn, _ := connection(t, Env{"TEMPORAL_ADDRESS": listener.Addr().String(), "TEMPORAL_NAMESPACE": "fanout"})
	registry := NewRegistry()
	metrics, err := TemporalMetrics(registry, conn.Log)
	require.NoError(t, err)
	conn.Metrics = metrics
	c, err := Dial(t.Context(), conn)
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, "fanout", <-asked)

	mu.Lock()
	answer = status.Error(codes.PermissionDenied, "revoked")
	mu.Unlock()
	m := newNamespaceMonitor(describeNamespace(c, "fanout"), conn.Health, conn.Log)
	require.Error(t, m.check(t.Context()))
	assert.Equal(t, []string{"temporal: PermissionDenied: revoked"}, conn.Health.NotReady())

	families, err := registry.Gather()
	require.NoError(t, err)
	var found []string
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "temporal_") {
			found = append(found, family.GetName()+" "+family.GetType().String())
		}
	}
	assert.Contains(t, found, "temporal_request_total COUNTER")
	assert.Contains(t, found, "temporal_request_failure_total COUNTER")
	assert.Contains(t, found, "temporal_request_latency_seconds HISTOGRAM")
}
