package process

import (
	"context"
	"fmt"
	"time"
)

// startRetry is the pause between two tries to start a worker.
const startRetry = time.Second

// StartPolling starts a worker of Temporal. The SDK's worker asks Temporal for its namespace when it
// starts, and fails if Temporal does not answer, so StartPolling tries again until it does.
// WatchTemporal reports the wait. StartPolling fails with a *RejectedError, or if ctx ends.
func StartPolling(ctx context.Context, temporal TemporalConfig, start func() error) error {
	for {
		err := start()
		if err == nil {
			return nil
		}
		if rejected := rejectedError(temporal, err); rejected != nil {
			return fmt.Errorf("start polling Temporal: %w", rejected)
		}
		if !pause(ctx, startRetry) {
			return ctx.Err()
		}
	}
}
