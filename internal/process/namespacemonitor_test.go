package process

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
