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

// Damaged is the reason under which Count counts open files that hold no record.
const Damaged event.Reason = "damaged"

// otherTarget is the target of files whose name is not that of a target.
const otherTarget = "_other"

// Count is the number of open records of a target for one reason.
type Count struct {
	Target  string
	Reason  event.Reason // or Damaged
	Records int
	Oldest  time.Time // the earliest time at which one was given up; zero if all are damaged
}

// census remembers what Count has read, so that the next pass reads only files
// that are new or have changed: a million records take some 60 MB.
type census struct {
	mu    sync.Mutex
	seed  maphash.Seed
	known map[uint64]counted // by a hash of the file's name
	pass  uint32
}

// counted is what is remembered of a file.
type counted struct {
	modified, size int64
	at             int64 // when it was given up, in ns since 1970
	reason         uint8 // an index of countedReasons
	pass           uint32
}

// countedReasons are the reasons that Count tells apart. A file with any other
// counts as damaged.
var countedReasons = append(event.Reasons(), Damaged)

// Count counts the open records by target and reason. It takes no lock, and reads
// the beginning of each file once: a file is read again only if its time or its
// size has changed. It also puts targets into the list of targets that are missing
// there, as after a restore from a backup.
func (d *Directory) Count(ctx context.Context) ([]Count, error) {
	d.census.mu.Lock()
	defer d.census.mu.Unlock()
	counts, err := d.count(ctx, &d.census)
	if err != nil {
		return nil, err
	}
	for _, one := range counts {
		if one.Target == otherTarget {
			continue
		}
		if err := d.remember(one.Target); err != nil {
			return nil, fmt.Errorf("list the target %s: %w", one.Target, d.explain(err))
		}
	}
	return counts, nil
}

func (d *Directory) count(ctx context.Context, c *census) ([]Count, error) {
	if c.known == nil {
		c.seed, c.known = maphash.MakeSeed(), make(map[uint64]counted)
	}
	c.pass++
	type kind struct {
		target string
		reason uint8
	}
	counts := make(map[kind]*Count)
	pace := pace{since: time.Now()}
	for name, err := range d.files(ctx) {
		if err != nil {
			return nil, err
		}
		file, again, err := c.look(filepath.Join(d.path, name), func() { pace.read(ctx) })
		if again || errors.Is(err, fs.ErrNotExist) {
			continue // listed twice, because it was replaced meanwhile; or closed since
		}
		if err != nil {
			return nil, err
		}
		target, ok := targetOf(name)
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
	for key, file := range c.known {
		if file.pass != c.pass {
			delete(c.known, key)
		}
	}
	list := make([]Count, 0, len(counts))
	for _, one := range counts {
		list = append(list, *one)
	}
	return list, nil
}

func (c *Count) add(file counted) {
	c.Records++
	if c.Reason == Damaged {
		return
	}
	if at := time.Unix(0, file.at); c.Oldest.IsZero() || at.Before(c.Oldest) {
		c.Oldest = at
	}
}

// look returns what a file holds, as it is remembered or else as it is read. again
// is true if this pass has counted the file already. reading is called before a file
// is read.
func (c *census) look(path string, reading func()) (file counted, again bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return counted{}, false, err
	}
	key := maphash.String(c.seed, filepath.Base(path))
	known, found := c.known[key]
	file = counted{modified: info.ModTime().UnixNano(), size: info.Size(), pass: c.pass}
	switch {
	case found && known.pass == c.pass:
		return counted{}, true, nil
	case found && known.modified == file.modified && known.size == file.size:
		file.at, file.reason = known.at, known.reason
	default:
		reading()
		if err := file.skim(path); err != nil {
			return counted{}, false, err
		}
	}
	c.known[key] = file
	return file, false, nil
}

// skim reads the reason of a record and when it was given up, and no further than
// it has to: they come before the payload. What holds no such record is Damaged.
func (c *counted) skim(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	var record Record
	err = decodeHead(json.NewDecoder(file), map[string]any{
		"event_id": &record.EventID, "target_name": &record.TargetName, "reason": &record.Reason, "timestamp": &record.Timestamp,
	})
	reason := Damaged
	var unread *fs.PathError
	switch {
	case errors.As(err, &unread):
		return err
	case err == nil && FileName(record.TargetName, record.EventID) == filepath.Base(path) && slices.Contains(event.Reasons(), record.Reason):
		reason, c.at = record.Reason, record.Timestamp.UnixNano()
	}
	c.reason = uint8(slices.Index(countedReasons, reason))
	return nil
}

// decodeHead reads an object until all wanted members are found.
func decodeHead(decoder *json.Decoder, wanted map[string]any) error {
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(err, errors.New("it is no JSON object"))
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

// pace keeps a pass over many files at half of one processor at most, because the
// process has deliveries to make.
type pace struct {
	reads int
	since time.Time
}

// paceReads is how many files are read between two pauses. At 20 µs each they take
// 5 ms.
const paceReads = 256

// read counts a file that was read, and pauses now and then.
func (p *pace) read(ctx context.Context) {
	if p.reads++; p.reads%paceReads != 0 {
		return
	}
	select {
	case <-time.After(time.Since(p.since)):
	case <-ctx.Done():
	}
	p.since = time.Now()
}
