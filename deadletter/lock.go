package deadletter

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lockRetry is the pause between two tries to get the lock while another process has it. A
// writer has it for a few milliseconds.
const lockRetry = 2 * time.Millisecond

// lock lets one writer at a time change which records are open. The token in d.writer
// excludes other goroutines of this process, and flock(2) on the directory excludes other
// processes on this machine. lock fails only if the directory cannot be opened, or with
// ctx.Err() if ctx ends first.
func (t *Tracker) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case t.writer <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// The library's default flags would create a file at the path.
	lock := flock.New(t.path, flock.SetFlag(os.O_RDONLY))
	if err := acquire(ctx, lock); err != nil {
		<-t.writer
		return nil, err
	}
	return func() {
		_ = lock.Unlock() // nothing was written through it
		<-t.writer
	}, nil
}

// acquire waits until this process has the lock. It also returns nil if the file system
// has no flock(2) on a directory, as NFS may not: there each step of a writer is still
// atomic, and Temporal lets an event have one open run at a time.
func acquire(ctx context.Context, lock *flock.Flock) error {
	for {
		_, err := lock.TryLockContext(ctx, lockRetry)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.EINTR):
			continue
		case isOpenError(err):
			return err
		default:
			return nil
		}
	}
}

// isOpenError reports whether the directory could not be opened. EISDIR is not such an
// error: after an EIO or EBADF of flock(2) the library opens the path again for writing,
// which no directory allows.
func isOpenError(err error) bool {
	var opening *fs.PathError
	return errors.As(err, &opening) && !errors.Is(err, syscall.EISDIR)
}
