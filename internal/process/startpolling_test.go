package process

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
)

// The SDK's worker fails to start if Temporal is away for a moment after the process has connected.
func TestStartPolling_WaitsForATemporalThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		err := StartPolling(t.Context(), TemporalConfig{}, func() error {
			if tries++; tries < 4 {
				return fmt.Errorf("failed reaching server: %w", context.DeadlineExceeded)
			}
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, 4, tries)
	})
}

func TestStartPolling_FailsIfTemporalRejectsTheWorkerOrTheProcessStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := StartPolling(t.Context(), TemporalConfig{}, func() error { return serviceerror.NewPermissionDenied("not you", "") })
		require.ErrorAs(t, err, new(*RejectedError))

		ctx, cancel := context.WithCancel(t.Context())
		err = StartPolling(ctx, TemporalConfig{}, func() error {
			cancel()
			return serviceerror.NewUnavailable("away")
		})
		require.ErrorIs(t, err, context.Canceled)
	})
}
