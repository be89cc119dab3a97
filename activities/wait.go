package activities

import (
	"context"
	"time"
)

// wait waits until d has passed, changed is closed or ctx is done. If d is 0, it never passes;
// changed may be nil. If ctx is done, wait returns the error of ctx.
func wait(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var passed <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-passed:
	case <-changed:
	}
	return nil
}
