package e2e

import (
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// proxy stands between the processes of a stack and Temporal.
func (s *stack) proxy() *devstack.TemporalProxy {
	s.t.Helper()
	proxy, err := devstack.StartTemporalProxy(s.ctx, s.temporal.Address())
	require.NoError(s.t, err)
	s.t.Cleanup(proxy.Close)
	return proxy
}
