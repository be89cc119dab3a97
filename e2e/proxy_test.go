package e2e

import (
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// startTemporalProxy starts a proxy of the stack's Temporal server.
func (s *stack) startTemporalProxy() *devstack.TemporalProxy {
	s.t.Helper()
	proxy, err := devstack.StartTemporalProxy(s.ctx, s.temporal.Address())
	require.NoError(s.t, err)
	s.t.Cleanup(proxy.Close)
	return proxy
}
