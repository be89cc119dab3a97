package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"genesys-fanout/event"
)

// DamagedError names a file of the tracker that holds no record, or that of
// another delivery. It is left as it is.
type DamagedError struct {
	File string
	Err  error
}

// Error names the file and the cure.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: damaged dead letter: %v; mend the file or move it away", e.File, e.Err)
}

// Unwrap returns what is wrong with the file.
func (e *DamagedError) Unwrap() error { return e.Err }

func read(file string) (Record, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Record{}, err
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return Record{}, &DamagedError{File: file, Err: err}
	}
	if name := FileName(record.TargetName, record.EventID); !strings.HasPrefix(filepath.Base(file), name) {
		return Record{}, &DamagedError{File: file, Err: errors.New("its target_name and event_id are not those of its name")}
	}
	if string(record.Payload) == "null" {
		record.Payload = nil
	}
	if !record.consistent() {
		return Record{}, &DamagedError{File: file, Err: errors.New("its payload and its payload_base64 are not the same message")}
	}
	return record, nil
}

// prepare writes a record to disk under a temporary name beside file. The name
// that readers know is given to it by CloseAtomicallyReplace or by a link.
func prepare(file string, record Record) (*renameio.PendingFile, error) {
	data, err := encode(record)
	if err != nil {
		return nil, err
	}
	return writePending(file, data)
}

// writePending writes data to disk under a temporary name beside file.
func writePending(file string, data []byte) (*renameio.PendingFile, error) {
	pending, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)), renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return nil, err
	}
	if _, err = pending.Write(data); err == nil {
		err = pending.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, pending.Cleanup())
	}
	return pending, nil
}

// maxIndent bounds the white space that makes a file readable, in bytes: a
// message nested thousands deep would grow by its depth on every line.
const maxIndent = 1 << 20

// JSON is the record as its file holds it.
func (r *Record) JSON() ([]byte, error) { return encode(*r) }

func encode(record Record) ([]byte, error) {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	if indentation(record.Payload) <= maxIndent {
		encoder.SetIndent("", "  ")
	}
	err := encoder.Encode(record)
	return data.Bytes(), err
}

// indentation is about how many bytes indenting adds to a JSON document. What
// stands in strings counts as if it were structure.
func indentation(document []byte) int {
	depth, added := 1, 0
	for _, c := range document {
		switch c {
		case '{', '[':
			depth++
			added += 1 + 2*depth
		case '}', ']':
			depth = max(depth-1, 0)
			added += 1 + 2*depth
		case ',':
			added += 1 + 2*depth
		}
	}
	return added
}

// keep gives file another name in a folder and makes it durable: that of the
// record, and if that is in use with .<run id>, and then with a number. It
// overwrites nothing. If isSame finds that a name holds the file already, an
// earlier call that was cut off gave it that name.
func (d *Directory) keep(file, folder, name, runID string, isSame func(kept string) bool) error {
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	dir := filepath.Join(d.path, folder)
	for free := range alternatives(name, runID) {
		kept := filepath.Join(dir, free)
		err := d.link(file, kept)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = copyFile(file, kept) // a file system without links
		}
		switch {
		case err == nil:
			return syncDir(dir)
		case !errors.Is(err, fs.ErrExist):
			return err
		case isSame(kept):
			return syncDir(dir)
		}
	}
	return nil
}

// longestRunID is the length of a UUID, which every run ID of Temporal is. With
// it the longest name still fits the 255 bytes that file systems allow.
const longestRunID = 36

// alternatives yields, without end, the names under which a record may be kept.
func alternatives(name, runID string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(name) {
			return
		}
		if run := event.EscapeFileName(runID); run != "" && len(run) <= longestRunID {
			name += "." + run
			if !yield(name) {
				return
			}
		}
		for i := 2; yield(name + "." + strconv.Itoa(i)); i++ {
		}
	}
}

// copyFile copies a file to a name that nothing has. A copy that a crash cut off
// stays: the file itself is still there, and its next copy takes the next name.
func copyFile(file, to string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(to)) // a full disk, say: no half copy for each try
	}
	return nil
}

// sameFile tells whether two names hold the same bytes.
func sameFile(a, b string) bool {
	dataA, errA := os.ReadFile(a)
	dataB, errB := os.ReadFile(b)
	return errA == nil && errB == nil && bytes.Equal(dataA, dataB)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
