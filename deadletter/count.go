package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"genesys-fanout/event"
)

// Damaged is the reason under which Count counts files that cannot be read as a record.
const Damaged event.Reason = "damaged"

// otherTarget is the target of files whose name does not begin with the name of a target.
const otherTarget = "_other"

// Count is the number of open records of a target for one reason.
type Count struct {
	Target  string
	Reason  event.Reason // or Damaged
	Records int
	Oldest  time.Time // when the first of them was given up; zero if all are damaged
}

// openCounter counts the open records. It remembers the files that it has read, so that the
// next pass reads only files that are new or have changed: a million records take some
// 60 MB.
type openCounter struct {
	mu    sync.Mutex
	seed  maphash.Seed
	files map[uint64]countedFile // by a hash of the file's name
	pass  uint32
}

// countedFile is what an openCounter remembers of a file.
type countedFile struct {
	modified, size int64
	timestamp      int64 // when the delivery was given up, in nanoseconds since 1970
	reason         uint8 // an index of countedReasons
	pass           uint32
}

// countedReasons are the reasons by which Count counts. A file with any other reason counts
// as damaged.
var countedReasons = append(event.Reasons(), Damaged)

// Count counts the open records by target and reason, and adds their targets to the list of
// targets if they are missing there, because a restore from a backup may bring such records. It
// needs no lock. It reads the beginning of each file, and reads a file again only if its time or
// size has changed.
func (t *Tracker) Count(ctx context.Context) ([]Count, error) {
	t.counter.mu.Lock()
	defer t.counter.mu.Unlock()
	counts, err := t.count(ctx, &t.counter)
	if err != nil {
		return nil, err
	}
	for _, one := range counts {
		if one.Target == otherTarget {
			continue
		}
		if err := t.addTarget(one.Target); err != nil {
			return nil, fmt.Errorf("list the target %s: %w", one.Target, t.unavailableOr(err))
		}
	}
	return counts, nil
}

func (t *Tracker) count(ctx context.Context, c *openCounter) ([]Count, error) {
	if c.files == nil {
		c.seed, c.files = maphash.MakeSeed(), make(map[uint64]countedFile)
	}
	c.pass++
	type kind struct {
		target string
		reason uint8
	}
	counts := make(map[kind]*Count)
	reads := pacer{since: time.Now()}
	for name, err := range t.openFiles(ctx) {
		if err != nil {
			return nil, err
		}
		file, repeated, err := c.inspect(filepath.Join(t.path, name), func() { reads.pause(ctx) })
		if repeated || errors.Is(err, fs.ErrNotExist) {
			continue // it was replaced during the listing and came twice, or it was closed
		}
		if err != nil {
			return nil, err
		}
		target, ok := targetOfFile(name)
		if !ok {
			target = otherTarget
		}
		one := counts[kind{target, file.reason}]
		if one == nil {
			one = &Count{Target: target, Reason: countedReasons[file.reason]}
			counts[kind{target, file.reason}] = one
		}
		one.add(file)
	}
	for key, file := range c.files {
		if file.pass != c.pass {
			delete(c.files, key)
		}
	}
	list := make([]Count, 0, len(counts))
	for _, one := range counts {
		list = append(list, *one)
	}
	return list, nil
}

func (c *Count) add(file countedFile) {
	c.Records++
	if c.Reason == Damaged {
		return
	}
	if at := time.Unix(0, file.timestamp); c.Oldest.IsZero() || at.Before(c.Oldest) {
		c.Oldest = at
	}
}

// inspect returns the reason and the time of a file, from memory if the file is unchanged.
// repeated is true if this pass has counted the file already. beforeRead is called before
// the file is read.
func (c *openCounter) inspect(path string, beforeRead func()) (file countedFile, repeated bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return countedFile{}, false, err
	}
	key := maphash.String(c.seed, filepath.Base(path))
	known, found := c.files[key]
	file = countedFile{modified: info.ModTime().UnixNano(), size: info.Size(), pass: c.pass}
	switch {
	case found && known.pass == c.pass:
		return countedFile{}, true, nil
	case found && known.modified == file.modified && known.size == file.size:
		file.timestamp, file.reason = known.timestamp, known.reason
	default:
		beforeRead()
		if err := file.readHead(path); err != nil {
			return countedFile{}, false, err
		}
	}
	c.files[key] = file
	return file, false, nil
}

// readHead reads the reason and the time of a record. It reads only the beginning of the
// file, because both come before the payload. The reason of a file that is not a record is
// Damaged.
func (c *countedFile) readHead(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	var record Record
	err = decodeMembers(json.NewDecoder(file), map[string]any{
		"event_id": &record.EventID, "target_name": &record.TargetName, "reason": &record.Reason, "timestamp": &record.Timestamp,
	})
	reason := Damaged
	var readErr *fs.PathError
	switch {
	case errors.As(err, &readErr):
		return err
	case err == nil && FileName(record.TargetName, record.EventID) == filepath.Base(path) && slices.Contains(event.Reasons(), record.Reason):
		reason, c.timestamp = record.Reason, record.Timestamp.UnixNano()
	}
	c.reason = uint8(slices.Index(countedReasons, reason))
	return nil
}

// decodeMembers reads a JSON object until it has found all wanted members, which it decodes
// and removes from the map.
func decodeMembers(decoder *json.Decoder, wanted map[string]any) error {
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(err, errors.New("it is not a JSON object"))
	}
	for len(wanted) > 0 {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF // the object ends without them
		}
		into, found := wanted[name]
		if !found {
			into = new(json.RawMessage)
		}
		if err := decoder.Decode(into); err != nil {
			return err
		}
		delete(wanted, name)
	}
	return nil
}

// pacer limits a pass over many files to half of one processor, because the process also
// makes deliveries.
type pacer struct {
	reads int
	since time.Time
}

// readsPerPause is how many files are read between two pauses. At 20 µs each, that takes
// 5 ms.
const readsPerPause = 256

// pause is called before each read. Before every readsPerPause-th it waits for as long as
// the reads since the last pause took.
func (p *pacer) pause(ctx context.Context) {
	if p.reads++; p.reads%readsPerPause != 0 {
		return
	}
	select {
	case <-time.After(time.Since(p.since)):
	case <-ctx.Done():
	}
	p.since = time.Now()
}
