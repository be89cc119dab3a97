package ingest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNew_NamesTheMissingOption(t *testing.T) {
	_, err := New(Options{})
	require.ErrorContains(t, err, "Options.Connect")
}
