package devstack_test

import (
	"context"
	"testing"

	"genesys-fanout/internal/await"
)

// deadline is the context of a test whose steps take as long as they take.
func deadline(t *testing.T) context.Context {
	t.Helper()
	return await.Context(t)
}
