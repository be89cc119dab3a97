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

// Check reports whether the tracker is there and can be written. It reads and
// writes nothing but the identity, unless the last write failed: then it tries
// one, because a full disk shows in no other way.
func (d *Directory) Check(context.Context) error {
	if err := d.present(); err != nil {
		return err
	}
	for _, folder := range d.folders() {
		const writeAndEnter = 0o3 // W_OK|X_OK of access(2)
		err := syscall.Access(folder, writeAndEnter)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a missing one is made when it is needed
			return fmt.Errorf("the tracker's folder %s cannot be written: %w", folder, err)
		}
	}
	if d.failed.Load() {
		if err := tryFile(d.path); err != nil {
			return err
		}
		d.failed.Store(false)
	}
	return nil
}

// CheckWritable reports whether Open and Record would find a tracker at path that
// they can write, and leaves nothing behind: it makes no folder, and it removes at
// once the file that it makes in each folder that is there. made says whether path
// is there.
func CheckWritable(path string) (made bool, err error) {
	d := newDirectory(path)
	for _, folder := range d.folders() {
		err := tryFile(folder)
		if errors.Is(err, fs.ErrNotExist) && folder == path {
			return false, tryFolder(path)
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

// probeSize is what tryFile writes, in bytes: one block, because a full disk still
// makes empty files.
const probeSize = 4 << 10

// tryFile writes a file in a folder and removes it.
func tryFile(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err == nil {
		_, err = probe.Write(bytes.Repeat([]byte{' '}, probeSize))
		err = errors.Join(err, probe.Sync(), probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return fmt.Errorf("the tracker's folder %s cannot be written: %v", dir, err) //nolint:errorlint // its ErrNotExist is not the folder's
	}
	return nil
}

// tryFolder makes a folder in the nearest one that is there and removes it, as one
// in which the missing ones can be made.
func tryFolder(path string) error {
	parent := filepath.Dir(filepath.Clean(path))
	_, err := os.Stat(parent)
	if errors.Is(err, fs.ErrNotExist) && parent != path {
		return tryFolder(parent)
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
