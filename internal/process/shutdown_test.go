package process

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/target"
)

// TestRunAndShutdown_LeavesWhatDoesNotEndWithinTheLimit checks that it returns just before the
// limit, and logs one line for each part that has not ended.
func TestRunAndShutdown_LeavesWhatDoesNotEndWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, signal := context.WithCancel(t.Context())
		release := make(chan struct{})
		defer close(release)
		out := &syncBuffer{}
		go func() {
			time.Sleep(time.Hour) // by the bubble's clock; the time before the signal does not count
			signal()
		}()
		began := time.Now()
		err := RunAndShutdown(ctx, 15*time.Second, Logger(out, "info", "text"), func(ctx context.Context, shutdown *Shutdown) error {
			shutdown.WaitFor("ended", "")()
			shutdown.WaitFor("group", "others take over after 15s")
			shutdown.WaitFor("queues", "others continue")
			<-ctx.Done()
			<-release
			return errors.New("too late")
		})
		require.NoError(t, err)
		assert.Equal(t, time.Hour+15*time.Second-exitMargin, time.Since(began))
		assert.Contains(t, out.String(), `level=WARN msg="the stop was cut off" limit=15s unfinished=group meaning="others take over after 15s"`)
		assert.Contains(t, out.String(), "unfinished=queues")
		assert.NotContains(t, out.String(), "unfinished=ended")
	})
}

func TestRunAndShutdown_ReturnsWhenRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		failure := errors.New("boom")
		out := &syncBuffer{}
		log := Logger(out, "info", "text")
		require.ErrorIs(t, RunAndShutdown(t.Context(), time.Minute, log, func(context.Context, *Shutdown) error { return failure }), failure)
		assert.Zero(t, time.Since(began), "without a signal")

		ctx, signal := context.WithCancel(t.Context())
		signal()
		require.NoError(t, RunAndShutdown(ctx, time.Minute, log, func(context.Context, *Shutdown) error {
			time.Sleep(time.Second)
			return nil
		}))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Empty(t, out.String())
	})
}

func TestRunAndShutdown_LogsThatTheStartWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, signal := context.WithCancel(t.Context())
		signal()
		release := make(chan struct{})
		defer close(release)
		out := &syncBuffer{}
		require.NoError(t, RunAndShutdown(ctx, time.Minute, Logger(out, "info", "text"), func(context.Context, *Shutdown) error {
			<-release
			return nil
		}))
		assert.Contains(t, out.String(), "unfinished=start")
	})
}

func TestShutdownLimit_IsTheLongestTimeoutAndTenSeconds(t *testing.T) {
	set, err := target.Parse("targets.yaml", []byte(`
targets:
  - {name: a, url: http://a}
  - {name: b, url: http://b, timeout: 20s}
`), nil)
	require.NoError(t, err)
	assert.Equal(t, 30*time.Second, ShutdownLimit(set))
}
