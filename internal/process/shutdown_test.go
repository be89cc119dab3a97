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

// TestStopWithin_CutsOffWhatDoesNotEnd, just before the limit and with a line for
// each part that is still open.
func TestStopWithin_CutsOffWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, signal := context.WithCancel(t.Context())
		release := make(chan struct{})
		defer close(release)
		out := &syncBuffer{}
		go func() {
			time.Sleep(time.Hour) // by the bubble's clock: running takes no part of the limit
			signal()
		}()
		began := time.Now()
		err := StopWithin(ctx, 15*time.Second, Logger(out, "info", "text"), func(ctx context.Context, stop *Shutdown) error {
			stop.WaitFor("door", "")()
			stop.WaitFor("group", "others take over after 15s")
			stop.WaitFor("queues", "others go on")
			<-ctx.Done()
			<-release
			return errors.New("too late")
		})
		require.NoError(t, err)
		assert.Equal(t, time.Hour+15*time.Second-exitMargin, time.Since(began))
		assert.Contains(t, out.String(), `level=WARN msg="the stop was cut off" limit=15s unfinished=group meaning="others take over after 15s"`)
		assert.Contains(t, out.String(), "unfinished=queues")
		assert.NotContains(t, out.String(), "door")
	})
}

func TestStopWithin_ReturnsAtOnceWhatEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		failure := errors.New("boom")
		out := &syncBuffer{}
		log := Logger(out, "info", "text")
		require.ErrorIs(t, StopWithin(t.Context(), time.Minute, log, func(context.Context, *Shutdown) error { return failure }), failure)
		assert.Zero(t, time.Since(began), "without a signal")

		ctx, signal := context.WithCancel(t.Context())
		signal()
		require.NoError(t, StopWithin(ctx, time.Minute, log, func(context.Context, *Shutdown) error {
			time.Sleep(time.Second)
			return nil
		}))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Empty(t, out.String())
	})
}

// TestStopWithin_SaysThatTheStartWasCutOff if no part is open yet.
func TestStopWithin_SaysThatTheStartWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, signal := context.WithCancel(t.Context())
		signal()
		release := make(chan struct{})
		defer close(release)
		out := &syncBuffer{}
		require.NoError(t, StopWithin(ctx, time.Minute, Logger(out, "info", "text"), func(context.Context, *Shutdown) error {
			<-release
			return nil
		}))
		assert.Contains(t, out.String(), "unfinished=start")
	})
}

func TestStopLimit_IsTheLongestTimeoutAndTenSeconds(t *testing.T) {
	set, err := target.Parse("targets.yaml", []byte(`
targets:
  - {name: a, url: http://a}
  - {name: b, url: http://b, timeout: 20s}
`), nil)
	require.NoError(t, err)
	assert.Equal(t, 30*time.Second, StopLimit(set))
}
