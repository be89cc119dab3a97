package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"genesys-fanout/deadletter"
	"genesys-fanout/internal/process"
)

type pruneCommand struct {
	OlderThan  string `placeholder:"D" help:"Delete records that were closed longer ago than this, such as 90d or 36h. Required."`
	Resolved   bool   `help:"Delete resolved records: a later run delivered their event."`
	Superseded bool   `help:"Delete superseded records: the same delivery failed again. Their age counts from when the delivery was given up."`
	Discarded  bool   `help:"Delete discarded records. Without --resolved, --superseded and --discarded, all three kinds are deleted."`
	DryRun     bool   `help:"Print what would be deleted, and delete nothing."`
	Yes        bool   `help:"Do not ask for confirmation."`
}

// folders returns the folders whose flags are given, or all if none is.
func (c pruneCommand) folders() []deadletter.Folder {
	named := map[deadletter.Folder]bool{deadletter.Resolved: c.Resolved, deadletter.Superseded: c.Superseded, deadletter.Discarded: c.Discarded}
	all := deadletter.Folders()
	chosen := slices.DeleteFunc(slices.Clone(all), func(f deadletter.Folder) bool { return !named[f] })
	if len(chosen) == 0 {
		return all
	}
	return chosen
}

// closedKind is a folder and a target. Closed records are counted by closedKind.
type closedKind struct {
	folder deadletter.Folder
	target string
}

// prune deletes old records that are no longer open.
func (i *invocation) prune(ctx context.Context) error {
	c := i.Prune
	tracker := i.openTracker()
	age := time.Duration(0)
	if i.problems.Required("--older-than", c.OlderThan, "say how old a record must be, such as 90d") {
		age = parseDuration("--older-than", c.OlderThan, "write a duration such as 90d or 36h", i.problems)
	}
	if !c.DryRun {
		i.requireConfirmable(c.Yes, "add --yes; --dry-run shows what would be deleted")
	}
	if err := i.problems.Err(); err != nil {
		return err
	}
	before := time.Now().Add(-age)
	counted, kinds := newRecordSet(), make(map[closedKind]int)
	old := olderThan(before, tracker.Closed(ctx, c.folders()...))
	damaged, err := forEachRecord(i.console.err, old, func(one deadletter.Closed) error {
		counted.add(one.File, one.RunID)
		kinds[closedKind{one.Folder, one.TargetName}]++
		return nil
	})
	if err != nil {
		return err
	}
	to := i.console.err
	if c.DryRun {
		to = i.console.out
	}
	if err := printClosedTable(to, kinds, counted.len()); err != nil {
		return err
	}
	if counted.len() > 0 && !c.DryRun {
		if !c.Yes && !i.confirm(ctx, "Delete "+plural(counted.len(), "record")+" for good?") {
			return errors.New("nothing was deleted")
		}
		if err := i.deleteCounted(old, counted); err != nil {
			return err
		}
	}
	return damagedFilesError(damaged)
}

// olderThan yields the records that were closed before a time, and all errors.
func olderThan(before time.Time, records iter.Seq2[deadletter.Closed, error]) iter.Seq2[deadletter.Closed, error] {
	return func(yield func(deadletter.Closed, error) bool) {
		for one, err := range records {
			if (err != nil || one.At.Before(before)) && !yield(one, err) {
				return
			}
		}
	}
}

// deleteCounted deletes the records that were counted. It does not name damaged files,
// because the count did.
func (i *invocation) deleteCounted(old iter.Seq2[deadletter.Closed, error], counted *recordSet) error {
	deleted := 0
	_, err := forEachRecord(io.Discard, old, func(one deadletter.Closed) error {
		if !counted.remove(one.File, one.RunID) {
			return nil
		}
		if err := one.Delete(); err != nil {
			return err
		}
		deleted++
		return nil
	})
	if _, printErr := fmt.Fprintf(i.console.out, "deleted %s\n", plural(deleted, "record")); err == nil {
		err = printErr
	}
	return err
}

// printClosedTable prints the numbers of closed records by folder and target.
func printClosedTable(w io.Writer, kinds map[closedKind]int, total int) error {
	if total == 0 {
		_, err := fmt.Fprintln(w, "nothing to delete")
		return err
	}
	counts := table.NewWriter()
	counts.AppendHeader(table.Row{"folder", "target", "records"})
	sorted := slices.SortedFunc(maps.Keys(kinds), func(a, b closedKind) int {
		return cmp.Or(cmp.Compare(a.folder, b.folder), cmp.Compare(a.target, b.target))
	})
	for _, kind := range sorted {
		counts.AppendRow(table.Row{string(kind.folder), printable(kind.target), kinds[kind]})
	}
	counts.AppendFooter(table.Row{"", "in all", total})
	_, err := fmt.Fprintln(w, counts.Render())
	return err
}

// parseDuration reads a duration, which must be above zero.
func parseDuration(flag, value, cure string, problems *process.Problems) time.Duration {
	d, err := process.ParseDuration(value)
	if err != nil || d <= 0 {
		problems.Argument(flag, value, cure)
		return 0
	}
	return d
}
