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

// Selection chooses the records that are to be sent again.
type Selection struct {
	Tracker *deadletter.Tracker
	Targets *target.Set
	Filter  deadletter.Filter
}

// Kind is a target and a reason. Records are counted by kind.
type Kind struct {
	Target string
	Reason event.Reason
}

// Plan is the records of a selection as they were when they were counted.
type Plan struct {
	Events     int // each is one run
	Deliveries int // one for each record
	Kinds      map[Kind]int
	Excluded   []Excluded // records that are not sent

	selection Selection
	unsent    recordSet // records that are still to be sent
}

// recordSet remembers each record by a hash of its file name: 100,000 records take some
// 8 MB.
type recordSet struct {
	seed   maphash.Seed
	byName map[uint64]recordMark
}

// recordMark is the part of a record that a recordSet remembers.
type recordMark struct {
	recordedByHash uint64 // hash of the id of the run that wrote the record
	target         string // shares the memory of the name in the set of targets
}

func newRecordSet() recordSet { return recordSet{maphash.MakeSeed(), make(map[uint64]recordMark)} }

func (s recordSet) add(r deadletter.Record, target string) {
	s.byName[s.hashName(r)] = recordMark{s.hashRun(r.RunID), target}
}

// find reports whether the set has a record of this delivery, and whether the same run
// wrote it.
func (s recordSet) find(r deadletter.Record) (found, sameRun bool) {
	mark, found := s.byName[s.hashName(r)]
	return found, found && mark.recordedByHash == s.hashRun(r.RunID)
}

func (s recordSet) remove(r deadletter.Record) { delete(s.byName, s.hashName(r)) }

// removeFile removes the record of a file whose content cannot be read.
func (s recordSet) removeFile(file string) {
	delete(s.byName, maphash.String(s.seed, filepath.Base(file)))
}

func (s recordSet) hashName(r deadletter.Record) uint64 {
	return maphash.String(s.seed, deadletter.FileName(r.TargetName, r.EventID))
}

func (s recordSet) hashRun(id string) uint64 { return maphash.String(s.seed, id) }

// NewPlan reads the chosen records once and returns which of them would be sent. If records
// are excluded because of their own content, it names the first few of each kind to notify.
// An error means that the directory cannot be read or that ctx ended.
func NewPlan(ctx context.Context, s Selection, notify func(line string)) (*Plan, error) {
	p := &Plan{Kinds: make(map[Kind]int), selection: s, unsent: newRecordSet()}
	events := make(map[uint64]struct{})
	for record, err := range s.Tracker.Select(ctx, s.Filter) {
		var damaged *deadletter.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return nil, err
		}
		if exclusion, excluded := s.exclusion(record, damaged); excluded {
			p.exclude(exclusion, notify)
			continue
		}
		t, _ := s.Targets.Get(record.TargetName) // found, because the record is not excluded
		p.Kinds[Kind{t.Name(), record.Reason}]++
		p.unsent.add(record, t.Name())
		events[maphash.String(p.unsent.seed, record.EventID)] = struct{}{}
	}
	p.Events, p.Deliveries = len(events), len(p.unsent.byName)
	return p, nil
}
