package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DamagedError names a file of the tracker that does not contain a record, or contains the
// record of another delivery than its name says. The file is never changed.
type DamagedError struct {
	File string
	Err  error
}

// Error names the file and the cure.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: damaged dead letter: %v; repair the file or move it away", e.File, e.Err)
}

// Unwrap returns what is wrong with the file.
func (e *DamagedError) Unwrap() error { return e.Err }

// readRecord reads the record in a file, open or closed. The error is a *DamagedError if
// the file is not a record.
func readRecord(file string) (Record, error) {
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
	if !record.payloadsAgree() {
		return Record{}, &DamagedError{File: file, Err: errors.New("its payload and its payload_base64 are not the same message")}
	}
	return record, nil
}

// JSON returns the record as the bytes of its file.
func (r *Record) JSON() ([]byte, error) { return encode(*r) }

// maxIndent is the most white space that encode adds to make a file readable, in bytes. On
// every line indentation grows with the depth, so a message that is nested thousands deep
// would become many times larger.
const maxIndent = 1 << 20

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

// indentation estimates how many bytes indenting adds to a JSON document. It does not
// distinguish strings from structure, so brackets and commas in strings count too.
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
