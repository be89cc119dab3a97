package genesyssdk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
	"genesys-fanout/genesys/genesystest"
	"genesys-fanout/genesyssdk"
)

func newSource(t *testing.T, o genesys.Options) genesys.Source {
	t.Helper()
	source, err := genesyssdk.New(o)
	require.NoError(t, err)
	return source
}

func TestClientOnTheSDK_BehavesLikeASource(t *testing.T) { genesystest.TestSource(t, newSource) }
