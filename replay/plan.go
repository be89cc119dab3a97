// Package replay sends dead letters again: for each event of the open records
// that a filter chooses it starts one run of FanOut, to the targets of those
// records, and says what became of them.
//
// The package refuses to deliver anything and to write into the tracker, because
// the run does both, by its worker. It sends no record that it did not count
// first, and none twice. A record that cannot arrive is refused by name, and the
// others go on.
//
// A run holds one of a few places only until Temporal has started it. So any number
// of runs may wait for a target that is down without holding up another target.
// Of a run that waits the package remembers the id and the names of its records.
// It learns what became of the deliveries from the records as they move.
package replay

import (
	"context"
	"errors"
	"hash/maphash"
	"path/filepath"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// Selection says which records are to be sent again.
type Selection struct {
	Directory *deadletter.Directory
	Targets   *target.Set
	Filter    deadletter.Filter
}

// Kind is a target and a reason, by which records are counted.
type Kind struct {
	Target string
	Reason event.Reason
}

// Plan holds the records of a selection as they were when they were counted.
type Plan struct {
	Events     int // each is one run
	Deliveries int // one for each record
	Kinds      map[Kind]int
	Excluded   []Excluded // records that stay as they are

	selection Selection
	open      records // that are to be sent
}

// records remembers each record by a hash of its file's name, with a hash of the
// run that left it: 100,000 records take some 8 MB.
type records struct {
	seed maphash.Seed
	left map[uint64]left
}

// left is what is remembered of a record.
type left struct {
	run    uint64 // hash of the id of the run that left it
	target string // as the set of targets has it, so that it takes no memory here
}

func newRecords() records { return records{maphash.MakeSeed(), make(map[uint64]left)} }

func (s records) add(r deadletter.Record, target string) {
	s.left[s.key(r)] = left{s.run(r.RunID), target}
}

// find returns whether the delivery of a record is among them, and whether the
// same run left the record.
func (s records) find(r deadletter.Record) (known, same bool) {
	record, known := s.left[s.key(r)]
	return known, known && record.run == s.run(r.RunID)
}

func (s records) remove(r deadletter.Record) { delete(s.left, s.key(r)) }

// removeDamaged removes the record whose file is damaged.
func (s records) removeDamaged(file string) {
	delete(s.left, maphash.String(s.seed, filepath.Base(file)))
}

func (s records) key(r deadletter.Record) uint64 {
	return maphash.String(s.seed, deadletter.FileName(r.TargetName, r.EventID))
}

func (s records) run(id string) uint64 { return maphash.String(s.seed, id) }

// NewPlan reads the selected records once and returns what would be sent. It names
// the first few records of each kind that are refused for themselves to notify.
// The error is that of the directory or of ctx.
func NewPlan(ctx context.Context, s Selection, notify func(line string)) (*Plan, error) {
	p := &Plan{Kinds: make(map[Kind]int), selection: s, open: newRecords()}
	events := make(map[uint64]struct{})
	for record, err := range s.Directory.Select(ctx, s.Filter) {
		var damaged *deadletter.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return nil, err
		}
		if refusal := s.refusal(record, damaged); refusal.why != "" {
			p.refuse(refusal, notify)
			continue
		}
		t, _ := s.Targets.Get(record.TargetName) // a record of another target is refused
		p.Kinds[Kind{t.Name(), record.Reason}]++
		p.open.add(record, t.Name())
		events[maphash.String(p.open.seed, record.EventID)] = struct{}{}
	}
	p.Events, p.Deliveries = len(events), len(p.open.left)
	return p, nil
}
