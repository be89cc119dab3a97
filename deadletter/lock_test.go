package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lockedPath names the directory that TestLock_IsSharedWithOtherProcesses locks in a
// second process, which is this test binary again.
const lockedPath = "DEADLETTER_TEST_LOCK"

func TestLock_IsSharedWithOtherProcesses(t *testing.T) {
	if path := os.Getenv(lockedPath); path != "" {
		unlock, err := newTracker(path).lock(t.Context())
		require.NoError(t, err)
		fmt.Println("locked")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the first process closes it
		unlock()
		return
	}
	d, path := openTracker(t)
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), lockedPath+"="+path)
	stdin, err := other.StdinPipe()
	require.NoError(t, err)
	stdout, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	line := make([]byte, len("locked\n"))
	_, err = stdout.Read(line)
	require.NoError(t, err)
	require.Equal(t, "locked\n", string(line))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = d.lock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, stdin.Close())
	unlock, err := d.lock(t.Context())
	require.NoError(t, err, "the other process has unlocked")
	unlock()
	require.NoError(t, other.Wait())
}

func TestLock_WaitsForAnotherHandleUntilItUnlocks(t *testing.T) {
	d, path := openTracker(t)
	other, err := Open(path)
	require.NoError(t, err)
	unlock, err := other.lock(t.Context())
	require.NoError(t, err)
	locked := make(chan error)
	go func() {
		unlock, err := d.lock(t.Context())
		if err == nil {
			unlock()
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		require.Failf(t, "it did not wait", "error %v", err)
	case <-time.After(10 * lockRetry):
	}
	unlock()
	require.NoError(t, <-locked)
}

func TestLock_WaitsNoLongerThanItsContext(t *testing.T) {
	d, path := openTracker(t)
	other, err := Open(path)
	require.NoError(t, err)
	unlock, err := other.lock(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, dir := range []*Tracker{d, other} {
		require.ErrorIs(t, dir.Record(ctx, newRecord("a", "run-1")), context.DeadlineExceeded)
	}
	assert.Empty(t, fileNames(t, path), "no temporary file is left")
	unlock()
	require.NoError(t, d.Record(t.Context(), newRecord("a", "run-1")))
}

// TestAcquire_SucceedsWithoutFlock uses a handle on which flock(2) fails with EBADF, as
// it does on file systems that have no lock on a directory.
func TestAcquire_SucceedsWithoutFlock(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs O_PATH of Linux")
	}
	const pathOnly = 0x200000 // O_PATH
	lock := flock.New(t.TempDir(), flock.SetFlag(pathOnly))
	_, err := lock.TryLock()
	require.ErrorIs(t, err, syscall.EBADF)
	require.NoError(t, acquire(t.Context(), lock))
}

func TestLock_FailsIfTheDirectoryCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing")
	d := newTracker(path)
	for range 2 { // the first failure gives the token of this process back
		_, err := d.lock(t.Context())
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	assert.NoFileExists(t, path)
}

func TestIsOpenError(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{&fs.PathError{Op: "open", Err: syscall.EMFILE}, true},
		{&fs.PathError{Op: "open", Err: syscall.EISDIR}, false},
		{syscall.ENOTSUP, false},
		{syscall.EBADF, false},
		{errors.New("other"), false},
	} {
		assert.Equal(t, test.want, isOpenError(test.err), "%v", test.err)
	}
}
