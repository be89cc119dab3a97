package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Check reports whether the tracker is there and can be written. It reads the identity and
// the permissions of the folders. Only if the last write failed, it tries a write, because a
// full disk shows in no other way.
func (t *Tracker) Check(context.Context) error {
	if err := t.verifyIdentity(); err != nil {
		return err
	}
	for _, folder := range t.folders() {
		const writeAndEnter = 0o3 // W_OK|X_OK of access(2)
		err := syscall.Access(folder, writeAndEnter)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a missing folder is created when it is needed
			return fmt.Errorf("the tracker's folder %s cannot be written: %w", folder, err)
		}
	}
	if t.lastWriteFailed.Load() {
		if err := probeWrite(t.path); err != nil {
			return err
		}
		t.lastWriteFailed.Store(false)
	}
	return nil
}

// CheckWritable reports whether Open and Record would find a tracker at path that they can
// write. It creates no folder, and removes at once the file that it writes into each
// existing folder. exists is false if path does not exist and Open would create it.
func CheckWritable(path string) (exists bool, err error) {
	t := newTracker(path)
	for _, folder := range t.folders() {
		err := probeWrite(folder)
		if errors.Is(err, fs.ErrNotExist) && folder == path {
			return false, probeMkdir(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
	}
	_, err = readIdentities(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return true, err
}

// probeSize is the size of the file that probeWrite writes, in bytes. It is one block,
// because empty files can be created on a full disk too.
const probeSize = 4 << 10

// probeWrite writes a file into a folder and removes it. The error is fs.ErrNotExist only if
// the folder does not exist.
func probeWrite(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err == nil {
		_, err = probe.Write(bytes.Repeat([]byte{' '}, probeSize))
		err = errors.Join(err, probe.Sync(), probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		err = errors.New(err.Error()) // an ErrNotExist would mean the folder
	}
	if err != nil {
		return fmt.Errorf("the tracker's folder %s cannot be written: %w", dir, err)
	}
	return nil
}

// isDiskFault reports whether an error is that of a disk that is full or read-only.
func isDiskFault(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// probeMkdir reports whether path can be created: it creates a folder in the nearest parent
// that exists, and removes it.
func probeMkdir(path string) error {
	parent := filepath.Dir(filepath.Clean(path))
	_, err := os.Stat(parent)
	if errors.Is(err, fs.ErrNotExist) && parent != path {
		return probeMkdir(parent)
	}
	if err == nil {
		var probe string
		if probe, err = os.MkdirTemp(parent, ".probe-*"); err == nil {
			err = os.Remove(probe)
		}
	}
	if err != nil {
		return fmt.Errorf("the tracker's folder cannot be made in %s: %w", parent, err)
	}
	return nil
}
