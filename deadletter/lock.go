package deadletter

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockRetry is how often a writer looks whether another process is done. What is
// done under the lock takes a few milliseconds.
const lockRetry = 2 * time.Millisecond

// lock lets one writer at a time change which records are open, of this process
// and, by flock(2) on the directory, of all on this machine. Where the file
// system has no such lock on a directory (NFS), each step is still atomic, and
// Temporal lets a delivery have one run at a time.
func (d *Directory) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case d.writer <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	held, err := lockDirectory(ctx, d.path)
	if err != nil {
		<-d.writer
		return nil, err
	}
	return func() {
		_ = held.Close() // ends the lock; nothing was written through it
		<-d.writer
	}, nil
}

func lockDirectory(ctx context.Context, path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, dir.Close())
		}
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return dir, nil // held, or no such lock here
		}
		select {
		case <-time.After(lockRetry):
		case <-ctx.Done():
		}
	}
}
