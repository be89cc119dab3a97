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
	Resolved   bool   `help:"Those that were delivered after all."`
	Superseded bool   `help:"Those that another failure of the same delivery replaced; their age counts from their own time."`
	Discarded  bool   `help:"Those that a user discarded. Without any of the three: all."`
	DryRun     bool   `help:"Print what would be deleted, and delete nothing."`
	Yes        bool   `help:"Do not ask."`
}

// folders are those that were named, or all.
func (c pruneCommand) folders() []deadletter.Folder {
	named := map[deadletter.Folder]bool{deadletter.Resolved: c.Resolved, deadletter.Superseded: c.Superseded, deadletter.Discarded: c.Discarded}
	all := deadletter.Folders()
	chosen := slices.DeleteFunc(slices.Clone(all), func(f deadletter.Folder) bool { return !named[f] })
	if len(chosen) == 0 {
		return all
	}
	return chosen
}

// closedKind is what closed records are counted by.
type closedKind struct {
	folder deadletter.Folder
	target string
}

// prune deletes old records that are no longer open.
func (i *invocation) prune(ctx context.Context) error {
	c := i.Prune
	tracker := i.tracker()
	age := time.Duration(0)
	if i.problems.Required("--older-than", c.OlderThan, "say how old a record must be, such as 90d") {
		age = duration("--older-than", c.OlderThan, "write a duration such as 90d or 36h", i.problems)
	}
	if !c.DryRun {
		i.asking(c.Yes, "add --yes, or see with --dry-run what would be deleted")
	}
	if err := i.problems.Err(); err != nil {
		return err
	}
	before := time.Now().Add(-age)
	counted, kinds := newChosen(), make(map[closedKind]int)
	old := olderThan(before, tracker.Closed(ctx, c.folders()...))
	damaged, err := each(i.console.err, old, func(one deadletter.Closed) error {
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
	if err := closedTable(to, kinds, counted.len()); err != nil {
		return err
	}
	if counted.len() > 0 && !c.DryRun {
		if !c.Yes && !i.confirmed(ctx, "Delete "+plural(counted.len(), "record")+" for good?") {
			return errors.New("nothing was deleted")
		}
		if err := i.deleteCounted(old, counted); err != nil {
			return err
		}
	}
	return leftDamaged(damaged)
}

// olderThan yields the records that were closed before a time, and the errors.
func olderThan(before time.Time, records iter.Seq2[deadletter.Closed, error]) iter.Seq2[deadletter.Closed, error] {
	return func(yield func(deadletter.Closed, error) bool) {
		for one, err := range records {
			if (err != nil || one.At.Before(before)) && !yield(one, err) {
				return
			}
		}
	}
}

// deleteCounted deletes the records that were counted. The damaged files are named
// already.
func (i *invocation) deleteCounted(old iter.Seq2[deadletter.Closed, error], counted *chosen) error {
	deleted := 0
	_, err := each(io.Discard, old, func(one deadletter.Closed) error {
		if !counted.take(one.File, one.RunID) {
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

// closedTable counts closed records by folder and target.
func closedTable(w io.Writer, kinds map[closedKind]int, total int) error {
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

// duration reads a duration above zero.
func duration(flag, value, cure string, problems *process.Problems) time.Duration {
	d, err := process.ParseDuration(value)
	if err != nil || d <= 0 {
		problems.Argument(flag, value, cure)
		return 0
	}
	return d
}
