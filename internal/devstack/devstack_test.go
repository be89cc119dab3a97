package devstack_test

import (
	"context"
	"testing"
	"time"
)

// limit bounds what a test waits for; on a quiet machine each takes seconds.
const limit = 2 * time.Minute

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}
