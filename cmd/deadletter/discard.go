package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"genesys-fanout/deadletter"
	"genesys-fanout/replay"
)

type discardCommand struct {
	TargetArg string `arg:"" optional:"" name:"target" help:"The target of the one dead letter to close."`
	EventArg  string `arg:"" optional:"" name:"event-id" help:"The id of its event."`
	Filters
	Note string `placeholder:"TEXT" help:"Why nobody will send it. Stored in the record. Required."`
	Yes  bool   `help:"Do not ask for confirmation."`
}

// discard closes records that nobody will send.
func (i *invocation) discard(ctx context.Context) error {
	c := i.Discard
	tracker, filter := i.openTracker(), c.filter(time.Now(), i.problems)
	one := c.TargetArg != ""
	filtered := c.Filters != (Filters{})
	switch {
	case one && filtered:
		i.problems.Add("TARGET", "is given together with a filter", "leave one of the two out")
	case one && c.EventArg == "":
		i.problems.Add("EVENT_ID", "is not given", "name the event after the target, or choose with --target")
	case !one && !filtered:
		i.problems.Add("TARGET", "is not given, and no filter is given", "name one record as TARGET EVENT_ID, or choose with --target, --type, --reason, --event, --interaction, --since or --until")
	case filtered:
		i.requireConfirmable(c.Yes, "add --yes; deadletter list with the same filter shows the records that would be discarded")
	}
	if tracker != nil && filter.Target != "" {
		names, err := tracker.Targets(ctx)
		if err != nil {
			return err
		}
		i.checkTargetKnown(filter.Target, names)
	}
	note := strings.TrimSpace(c.Note)
	i.problems.Required("--note", note, "say why nobody will send it")
	if err := i.problems.Err(); err != nil {
		return err
	}
	d := discarder{invocation: i, tracker: tracker, why: deadletter.DiscardNote{By: userName(), Note: note}}
	if one {
		return d.discardOne(ctx, c.TargetArg, c.EventArg)
	}
	return d.discardFiltered(ctx, filter)
}

// userName returns the operating system's name of the user who runs the command.
func userName() string {
	current, err := user.Current()
	if err != nil || current.Username == "" { // in a container that does not know the user
		return "uid " + strconv.Itoa(os.Getuid())
	}
	return current.Username
}

// discarder discards the records of one invocation.
type discarder struct {
	*invocation
	tracker *deadletter.Tracker
	why     deadletter.DiscardNote
}

func (d *discarder) discardOne(ctx context.Context, target, eventID string) error {
	record, err := d.tracker.Get(target, eventID)
	if errors.Is(err, fs.ErrNotExist) {
		return d.notOpenError(ctx, d.tracker, target, eventID)
	}
	if err != nil {
		return printableError(err)
	}
	discarded, err := d.discardRecord(ctx, record)
	if err != nil {
		return err
	}
	if !discarded {
		return errors.New("nothing was discarded: the record was closed or replaced meanwhile; see it with deadletter show")
	}
	return d.printResult(1)
}

// printResult prints how many records were discarded, and where they are.
func (d *discarder) printResult(records int) error {
	they := "they are"
	if records == 1 {
		they = "it is"
	}
	_, err := fmt.Fprintf(d.console.out, "discarded %s; %s in %s\n", plural(records, "record"), they, printable(d.tracker.Path(deadletter.Discarded)))
	return err
}

// discardRecord discards a record, with the present time.
func (d *discarder) discardRecord(ctx context.Context, record deadletter.Record) (bool, error) {
	why := d.why
	why.At = time.Now()
	discarded, err := d.tracker.Discard(ctx, record, why)
	if err != nil {
		return false, printableError(err)
	}
	return discarded, nil
}

// discardFiltered counts the records that a filter chooses, asks for confirmation, and
// discards the records that it counted.
func (d *discarder) discardFiltered(ctx context.Context, filter deadletter.Filter) error {
	counted, kinds := newRecordSet(), make(map[replay.Kind]int)
	damaged, err := forEachRecord(d.console.err, d.tracker.Select(ctx, filter), func(r deadletter.Record) error {
		counted.add(r.TargetName, r.EventID, r.RunID)
		kinds[replay.Kind{Target: r.TargetName, Reason: r.Reason}]++
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(d.console.err, kindsTable(kinds, counted.len())); err != nil {
		return err
	}
	if counted.len() > 0 {
		if !d.Discard.Yes && !d.confirm(ctx, "Discard "+plural(counted.len(), "record")+"?") {
			return errors.New("nothing was discarded")
		}
		if err := d.discardCounted(ctx, filter, counted); err != nil {
			return err
		}
	}
	return damagedFilesError(damaged)
}

// discardCounted discards the counted records that are unchanged.
func (d *discarder) discardCounted(ctx context.Context, filter deadletter.Filter, counted *recordSet) error {
	discarded, all := 0, counted.len()
	for record, err := range d.tracker.Select(ctx, filter) {
		if errors.As(err, new(*deadletter.DamagedError)) {
			continue // it was named when the records were counted
		}
		if err != nil {
			return err
		}
		if !counted.remove(record.TargetName, record.EventID, record.RunID) {
			continue
		}
		closed, err := d.discardRecord(ctx, record)
		if err != nil {
			return fmt.Errorf("%s discarded, and then: %w", plural(discarded, "record"), err)
		}
		if closed {
			discarded++
		}
	}
	if err := d.printResult(discarded); err != nil {
		return err
	}
	switch left := all - discarded; left {
	case 0:
		return nil
	case 1:
		return errors.New("1 record not discarded, because it was closed or replaced meanwhile")
	default:
		return fmt.Errorf("%d records not discarded, because they were closed or replaced meanwhile", left)
	}
}

// recordSet is a set of records. It remembers each by a hash of the fields that identify it:
// a million records take some 20 MB.
type recordSet struct {
	seed maphash.Seed
	keys map[uint64]struct{}
}

func newRecordSet() *recordSet { return &recordSet{maphash.MakeSeed(), make(map[uint64]struct{})} }

func (s *recordSet) len() int { return len(s.keys) }

func (s *recordSet) add(fields ...string) { s.keys[s.key(fields)] = struct{}{} }

// remove removes a record, and reports whether the set had it.
func (s *recordSet) remove(fields ...string) bool {
	key := s.key(fields)
	_, found := s.keys[key]
	delete(s.keys, key)
	return found
}

func (s *recordSet) key(fields []string) uint64 {
	return maphash.String(s.seed, strings.Join(fields, "\x00"))
}
