package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Version identifies the content of a record's file. If another run writes a record under
// the same name, the file has another version.
type Version struct {
	modified int64 // nanoseconds since 1970
	size     int64 // bytes
	inode    uint64
}

// Version returns the version of the open record whose file has the name, a FileName. It
// does not read the file. found is false if the record is not open. The error is an
// *UnavailableError if the directory is not the tracker that was opened, because then nothing
// is known of its records.
func (t *Tracker) Version(name string) (v Version, found bool, err error) {
	info, err := os.Lstat(filepath.Join(t.path, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Version{}, false, t.verifyIdentity()
	case err != nil:
		return Version{}, false, fmt.Errorf("look for the dead letter %s: %w", name, t.unavailableOr(err))
	}
	v = Version{modified: info.ModTime().UnixNano(), size: info.Size()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		v.inode = stat.Ino
	}
	return v, true, nil
}
