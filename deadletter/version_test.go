package deadletter

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVersion_ChangesWithTheRecordAndEndsWithIt(t *testing.T) {
	d, path := open(t)
	name := FileName("compliance-service", "evt-1")
	_, found, err := d.Version(name)
	require.NoError(t, err)
	assert.False(t, found)
	_, err = d.Named(name)
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
	first, found, err := d.Version(name)
	require.NoError(t, err)
	assert.True(t, found)
	again, _, err := d.Version(name)
	require.NoError(t, err)
	assert.Equal(t, first, again)
	record, err := d.Named(name)
	require.NoError(t, err)
	assert.Equal(t, "run-1", record.RunID)

	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-2"))) // of the same size
	second, _, err := d.Version(name)
	require.NoError(t, err)
	assert.NotEqual(t, first, second)

	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-3", noon))
	_, found, err = d.Version(name)
	require.NoError(t, err)
	assert.False(t, found)

	// An unmounted directory leaves an empty mount point.
	away := path + "-away"
	require.NoError(t, os.Rename(path, away))
	require.NoError(t, os.Mkdir(path, 0o700))
	_, found, err = d.Version(name)
	require.ErrorAs(t, err, new(*AwayError))
	assert.False(t, found)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Rename(away, path))
	_, _, err = d.Version(name)
	require.NoError(t, err)

	require.NoError(t, os.RemoveAll(path))
	_, found, err = d.Version(name)
	require.ErrorContains(t, err, "look for the dead letter compliance-service_evt-1.json: ")
	assert.False(t, found, "a directory that is away says nothing about its records")
}
