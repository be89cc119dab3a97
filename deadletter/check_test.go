package deadletter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckWritable_AgreesWithOpenAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "a", "b")
	made, err := CheckWritable(absent)
	require.NoError(t, err)
	assert.False(t, made)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)

	_, path := openTracker(t)
	require.NoError(t, os.Remove(filepath.Join(path, supersededDir)), "a tracker without one of its folders")
	made, err = CheckWritable(path)
	require.NoError(t, err)
	assert.True(t, made)
	assert.Empty(t, fileNames(t, path))
	assert.Empty(t, fileNames(t, filepath.Join(path, resolvedDir)))
	assert.NoDirExists(t, filepath.Join(path, supersededDir))

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(path, supersededDir), nil, 0o600))
	for _, bad := range []string{file, filepath.Join(file, "a", "b"), path} {
		_, err := CheckWritable(bad)
		require.Error(t, err, bad)
		_, openErr := Open(bad)
		require.Error(t, openErr, "Open fails too")
	}
}

func TestCheckWritable_NamesAFolderThatCannotBeWritten(t *testing.T) {
	folder := "/proc/self/fdinfo" // in which not even root may make a file
	if os.Geteuid() != 0 {
		folder = t.TempDir()
		require.NoError(t, os.Chmod(folder, 0o500))
	}
	if _, err := os.Stat(folder); err != nil {
		t.Skip("this system has no such folder")
	}
	made, err := CheckWritable(folder)
	require.ErrorContains(t, err, folder)
	assert.True(t, made)
	_, err = CheckWritable(filepath.Join(folder, "below"))
	require.ErrorContains(t, err, folder)
}
