package devstack_test

import (
	"context"
	"testing"

	"genesys-fanout/internal/await"
)

// deadline returns the context of a test whose steps have no time limit of their own.
func deadline(t *testing.T) context.Context {
	t.Helper()
	return await.Context(t)
}
