package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Version identifies the record that a file holds. A record that another run left
// under the same name has another version.
type Version struct {
	modified int64 // nanoseconds since 1970
	size     int64 // bytes
	inode    uint64
}

// Version returns the version of the open record that has a FileName, without
// reading the record. found is false if the record is not open. The error is an
// *UnavailableError if the tracker is away, because then nothing is known of its records.
func (d *Directory) Version(name string) (v Version, found bool, err error) {
	info, err := os.Lstat(filepath.Join(d.path, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Version{}, false, d.present()
	case err != nil:
		return Version{}, false, fmt.Errorf("look for the dead letter %s: %w", name, d.explain(err))
	}
	v = Version{modified: info.ModTime().UnixNano(), size: info.Size()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		v.inode = stat.Ino
	}
	return v, true, nil
}

// GetFile reads the open record that has a FileName. Without one the error is
// fs.ErrNotExist; a file that does not hold it is a *DamagedError.
func (d *Directory) GetFile(name string) (Record, error) {
	return read(filepath.Join(d.path, name))
}

// GetDiscarded reads the discarded record that has a FileName. Without one the error is
// fs.ErrNotExist. If the delivery was discarded several times, it is the first record.
func (d *Directory) GetDiscarded(name string) (Record, error) {
	return read(filepath.Join(d.path, discardedDir, name))
}
