package deadletter

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVersion_ChangesWithTheRecord(t *testing.T) {
	d, path := openTracker(t)
	name := FileName("compliance-service", "evt-1")
	_, found, err := d.Version(name)
	require.NoError(t, err)
	assert.False(t, found)
	_, err = d.GetFile(name)
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-1")))
	first, found, err := d.Version(name)
	require.NoError(t, err)
	assert.True(t, found)
	again, _, err := d.Version(name)
	require.NoError(t, err)
	assert.Equal(t, first, again)
	record, err := d.GetFile(name)
	require.NoError(t, err)
	assert.Equal(t, "run-1", record.RunID)

	require.NoError(t, d.Record(t.Context(), newRecord("evt-1", "run-2"))) // of the same size
	second, _, err := d.Version(name)
	require.NoError(t, err)
	assert.NotEqual(t, first, second)

	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-3", noon))
	_, found, err = d.Version(name)
	require.NoError(t, err)
	assert.False(t, found)

	other, err := Open(filepath.Join(t.TempDir(), "other"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(path))
	_, found, err = d.Version(name)
	require.ErrorAs(t, err, new(*UnavailableError))
	assert.False(t, found, "while the tracker is unavailable, nothing is known of its records")
	require.NoError(t, os.Rename(other.path, path))
	_, found, err = d.Version(name)
	require.ErrorContains(t, err, "its directory now has the tracker "+other.ID())
	assert.False(t, found)
}
