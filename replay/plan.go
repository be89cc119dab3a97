// Package replay sends dead letters again: for each event of the open records
// that a filter chooses it starts one run of FanOut, to the targets of those
// records, and tells what became of them.
//
// The package refuses to deliver anything and to write into the tracker: the run
// does both, by its worker. It sends no record that it did not count first, none
// twice, and none that cannot arrive: that one is refused by name, and the
// others go on. It knows which record is meant by a hash of its name, and holds
// the message of one only until its run is started.
package replay

import (
	"context"
	"errors"
	"hash/maphash"
	"path/filepath"

	"genesys-fanout/event"

	"genesys-fanout/deadletter"
	"genesys-fanout/target"
)

// Selection is what is to be sent again.
type Selection struct {
	Directory *deadletter.Directory
	Targets   *target.Set
	Filter    deadletter.Filter
}

// Kind is what records are counted by.
type Kind struct {
	Target string
	Reason event.Reason
}

// Plan is what a selection came to when it was counted.
type Plan struct {
	Events     int // each is one run
	Deliveries int // one for each record
	Kinds      map[Kind]int
	Refused    []Refused // what stays as it is

	selection Selection
	open      records // that are to be sent
}

// records remembers each record by a hash of its file's name, with one of the
// run that left it: 100,000 records take some 4 MB.
type records struct {
	seed maphash.Seed
	runs map[uint64]uint64
}

func newRecords(seed maphash.Seed) records { return records{seed, make(map[uint64]uint64)} }

func (s records) add(r deadletter.Record) { s.runs[s.key(r)] = s.run(r) }

// find tells whether the delivery of a record is among them, and whether by the
// same record or by that of another run.
func (s records) find(r deadletter.Record) (known, same bool) {
	run, known := s.runs[s.key(r)]
	return known, known && run == s.run(r)
}

func (s records) remove(r deadletter.Record) { delete(s.runs, s.key(r)) }

// removeDamaged takes the record out whose file is damaged.
func (s records) removeDamaged(file string) (known bool) {
	key := maphash.String(s.seed, filepath.Base(file))
	_, known = s.runs[key]
	delete(s.runs, key)
	return known
}

func (s records) key(r deadletter.Record) uint64 {
	return maphash.String(s.seed, deadletter.FileName(r.TargetName, r.EventID))
}

func (s records) run(r deadletter.Record) uint64 { return maphash.String(s.seed, r.RunID) }

// Count reads the selected records once and tells what would be sent. Each
// record that is refused for itself is named to notify, the first few of a kind.
// The error is that of the directory or of ctx.
func Count(ctx context.Context, s Selection, notify func(line string)) (*Plan, error) {
	p := &Plan{Kinds: make(map[Kind]int), selection: s, open: newRecords(maphash.MakeSeed())}
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
		p.Kinds[Kind{record.TargetName, record.Reason}]++
		p.open.add(record)
		events[maphash.String(p.open.seed, record.EventID)] = struct{}{}
	}
	p.Events, p.Deliveries = len(events), len(p.open.runs)
	return p, nil
}
