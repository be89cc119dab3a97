package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckWritable tells whether Open and Record would find a tracker at path that
// they can write, and leaves nothing behind: no folder is made, and a file that is
// made in one that is there is removed at once. made says whether path is there.
func CheckWritable(path string) (made bool, err error) {
	for _, dir := range []string{path, filepath.Join(path, supersededDir), filepath.Join(path, resolvedDir)} {
		err := tryFile(dir)
		if errors.Is(err, fs.ErrNotExist) && dir == path {
			return false, tryFolder(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
	}
	return true, nil
}

// tryFile makes a file in a folder and removes it.
func tryFile(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
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
