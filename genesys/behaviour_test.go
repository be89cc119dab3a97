package genesys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
	"genesys-fanout/genesys/genesystest"
)

func TestClient_BehavesLikeASource(t *testing.T) {
	genesystest.TestSource(t, func(t *testing.T, o genesys.Options) genesys.Source {
		c, err := genesys.New(o)
		require.NoError(t, err)
		return c
	})
}
