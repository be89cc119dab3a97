package devstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNewestServer_IsTheHighestVersionWithInitdb(t *testing.T) {
	root := t.TempDir()
	assert.Empty(t, newestServer(root))
	for _, program := range []string{"9.6/bin/initdb", "15/bin/initdb", "15/bin/psql", "16/bin/psql"} { // 16 is a package of the client
		path := filepath.Join(root, program)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, nil, 0o755)) //nolint:gosec // the file represents a program
	}
	assert.Equal(t, filepath.Join(root, "15", "bin"), newestServer(root))
}
