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
	TargetArg string `arg:"" optional:"" name:"target" help:"The target of one record."`
	EventArg  string `arg:"" optional:"" name:"event-id" help:"The id of its event."`
	Filters
	Note string `placeholder:"TEXT" help:"Why nobody will send it; kept in the record. Required."`
	Yes  bool   `help:"Do not ask."`
}

// discard closes records that nobody will send.
func (i *invocation) discard(ctx context.Context) error {
	c := i.Discard
	tracker, filter := i.tracker(), c.filter(time.Now(), i.problems)
	one := c.TargetArg != ""
	filtered := c.Filters != (Filters{})
	switch {
	case one && filtered:
		i.problems.Add("TARGET", "is given with a filter", "leave one of the two out")
	case one && c.EventArg == "":
		i.problems.Add("EVENT_ID", "is not given", "name the event after the target, or choose with --target")
	case !one && !filtered:
		i.problems.Add("TARGET", "is not given, and no filter is", "name one record as TARGET EVENT_ID, or choose with --target, --type, --reason, --event, --interaction, --since or --until")
	case filtered:
		i.asking(c.Yes, "add --yes, or see with deadletter list and the same filter what would be discarded")
	}
	if tracker != nil && filter.Target != "" {
		names, err := tracker.Targets(ctx)
		if err != nil {
			return err
		}
		i.checkListed(filter.Target, names)
	}
	note := strings.TrimSpace(c.Note)
	i.problems.Required("--note", note, "say why nobody will send it")
	if err := i.problems.Err(); err != nil {
		return err
	}
	d := discarding{invocation: i, tracker: tracker, why: deadletter.DiscardNote{By: userName(), Note: note}}
	if one {
		return d.one(ctx, c.TargetArg, c.EventArg)
	}
	return d.filtered(ctx, filter)
}

// userName is who runs the command, as the operating system names the user.
func userName() string {
	current, err := user.Current()
	if err != nil || current.Username == "" { // in a container that does not know the user
		return "uid " + strconv.Itoa(os.Getuid())
	}
	return current.Username
}

// discarding is one call of discard.
type discarding struct {
	*invocation
	tracker *deadletter.Directory
	why     deadletter.DiscardNote
}

func (d *discarding) one(ctx context.Context, target, eventID string) error {
	record, err := d.tracker.Get(target, eventID)
	if errors.Is(err, fs.ErrNotExist) {
		return d.notThere(ctx, d.tracker, target, eventID)
	}
	if err != nil {
		return printableError(err)
	}
	discarded, err := d.close(ctx, record)
	if err != nil {
		return err
	}
	if !discarded {
		return errors.New("nothing was discarded: the record was closed or replaced meanwhile; look at it again")
	}
	return d.report(1)
}

// report says how many records were discarded, and where they are.
func (d *discarding) report(records int) error {
	they := "they are"
	if records == 1 {
		they = "it is"
	}
	_, err := fmt.Fprintf(d.console.out, "discarded %s; %s in %s\n", plural(records, "record"), they, printable(d.tracker.Path(deadletter.Discarded)))
	return err
}

// close discards a record now.
func (d *discarding) close(ctx context.Context, record deadletter.Record) (bool, error) {
	why := d.why
	why.At = time.Now()
	discarded, err := d.tracker.Discard(ctx, record, why)
	if err != nil {
		return false, printableError(err)
	}
	return discarded, nil
}

// filtered counts what a filter chooses, asks, and discards what was counted.
func (d *discarding) filtered(ctx context.Context, filter deadletter.Filter) error {
	counted, kinds := newChosen(), make(map[replay.Kind]int)
	damaged, err := each(d.console.err, d.tracker.Select(ctx, filter), func(r deadletter.Record) error {
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
		if !d.Discard.Yes && !d.confirmed(ctx, "Discard "+plural(counted.len(), "record")+"?") {
			return errors.New("nothing was discarded")
		}
		if err := d.counted(ctx, filter, counted); err != nil {
			return err
		}
	}
	return leftDamaged(damaged)
}

// counted discards what is still as it was counted.
func (d *discarding) counted(ctx context.Context, filter deadletter.Filter, counted *chosen) error {
	discarded, all := 0, counted.len()
	for record, err := range d.tracker.Select(ctx, filter) {
		if errors.As(err, new(*deadletter.DamagedError)) {
			continue // it was named when it was counted
		}
		if err != nil {
			return err
		}
		if !counted.take(record.TargetName, record.EventID, record.RunID) {
			continue
		}
		closed, err := d.close(ctx, record)
		if err != nil {
			return fmt.Errorf("after %s: %w", plural(discarded, "record"), err)
		}
		if closed {
			discarded++
		}
	}
	if err := d.report(discarded); err != nil {
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

// chosen remembers records that were counted by a hash of what identifies them: a
// million take some 20 MB.
type chosen struct {
	seed maphash.Seed
	keys map[uint64]struct{}
}

func newChosen() *chosen { return &chosen{maphash.MakeSeed(), make(map[uint64]struct{})} }

func (c *chosen) len() int { return len(c.keys) }

func (c *chosen) add(words ...string) { c.keys[c.key(words)] = struct{}{} }

// take reports whether a record is among them, once.
func (c *chosen) take(words ...string) bool {
	key := c.key(words)
	_, found := c.keys[key]
	delete(c.keys, key)
	return found
}

func (c *chosen) key(words []string) uint64 {
	return maphash.String(c.seed, strings.Join(words, "\x00"))
}
