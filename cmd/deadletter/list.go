package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/replay"
	"genesys-fanout/target"
)

type listCommand struct {
	Filters
	JSON bool `name:"json" help:"Print the records as a JSON array, with the fields of their files."`
}

// list prints the open records that a filter chooses. It prints each record when it is read,
// and has only the counts in memory, because there may be many records.
func (i *invocation) list(ctx context.Context) error {
	tracker := i.openTracker()
	filter := i.List.filter(time.Now(), i.problems)
	var names []string
	if tracker != nil {
		var err error
		if names, err = tracker.Targets(ctx); err != nil {
			return err
		}
		i.checkTargetKnown(filter.Target, names)
	}
	if err := i.problems.Err(); err != nil {
		return err
	}
	var rows printer = &jsonRows{console: i.console}
	if !i.List.JSON {
		rows = newTableRows(i.console, names, tracker)
	}
	if err := rows.begin(); err != nil {
		return err
	}
	damaged, err := forEachRecord(i.console.err, tracker.Select(ctx, filter), rows.row)
	if err != nil {
		return err
	}
	if err := rows.end(); err != nil {
		return err
	}
	return damagedFilesError(damaged)
}

// forEachRecord calls do with each record. It prints the name of each damaged file to w, and
// returns how many there are.
func forEachRecord[R any](w io.Writer, records iter.Seq2[R, error], do func(R) error) (damagedFiles int, err error) {
	for record, err := range records {
		if errors.As(err, new(*deadletter.DamagedError)) {
			damagedFiles++
			_, _ = fmt.Fprintln(w, printable(err.Error()))
			continue
		}
		if err == nil {
			err = do(record)
		}
		if err != nil {
			return damagedFiles, err
		}
	}
	return damagedFiles, nil
}

// damagedFilesError returns the error of a command that met damaged files, which no command
// changes; nil if it met none.
func damagedFilesError(files int) error {
	if files == 0 {
		return nil
	}
	return fmt.Errorf("%s cannot be read and %s named above", plural(files, "file"), isOrAre(files))
}

// checkTargetKnown adds a problem if neither the tracker nor targets.yaml has a target. The
// command works without targets.yaml, so errors in that file are not reported.
func (i *invocation) checkTargetKnown(name string, inTracker []string) {
	if name == "" || slices.Contains(inTracker, name) {
		return
	}
	where, known := "the tracker, and "+i.Targets+" cannot be read", slices.Clone(inTracker)
	if set, err := target.Load(i.Targets, nil); err == nil {
		where = i.Targets + " or the tracker"
		for _, t := range set.All() {
			known = append(known, t.Name())
		}
		slices.Sort(known)
		known = slices.Compact(known)
	}
	checkTarget(name, where, known, i.problems)
}

// printer prints records one after the other.
type printer interface {
	begin() error
	row(deadletter.Record) error
	end() error
}

// jsonRows prints a JSON array with one record on each line.
type jsonRows struct {
	console console
	printed int
}

func (j *jsonRows) begin() error {
	_, err := io.WriteString(j.console.out, "[")
	return err
}

func (j *jsonRows) row(r deadletter.Record) error {
	document, err := compactJSON(r)
	if err != nil {
		return err
	}
	separator := ",\n"
	if j.printed == 0 {
		separator = "\n"
	}
	j.printed++
	_, err = fmt.Fprintf(j.console.out, "%s%s", separator, j.console.safeJSON(document))
	return err
}

func (j *jsonRows) end() error {
	_, err := io.WriteString(j.console.out, "\n]\n")
	return err
}

// The widths of the columns. A longer value is rare, and moves the rest of its row to the
// right.
const (
	timeWidth   = len(time.RFC3339) - len("07:00") // in UTC
	reasonWidth = len(event.ReasonUndecodable)
	typeWidth   = len("v2.detail.events.conversation.{id}.voicemail.start")
	typeEnding  = 24 // of a type on a terminal, which shows its end, because types differ there
	idWidth     = 36 // a UUID
	leastError  = 10 // columns; if fewer are left, the error is not shown
)

// tableRows prints a table. Its widths are fixed before its first row is read.
type tableRows struct {
	console     console
	targetWidth int
	kinds       map[replay.Kind]int
	records     int
	closed      string // the folders of the closed records
}

func newTableRows(c console, targets []string, tracker *deadletter.Tracker) *tableRows {
	t := &tableRows{console: c, targetWidth: len("TARGET"), kinds: make(map[replay.Kind]int)}
	var folders []string
	for _, folder := range deadletter.Folders() {
		folders = append(folders, printable(tracker.Path(folder)))
	}
	t.closed = strings.Join(folders, ", ")
	for _, name := range targets {
		t.targetWidth = max(t.targetWidth, text.StringWidthWithoutEscSequences(printable(name)))
	}
	return t
}

func (t *tableRows) begin() error {
	return t.line("TIME", "TARGET", "REASON", "STATUS", "ATTEMPTS", "EVENT TYPE", "EVENT ID", "ERROR")
}

func (t *tableRows) row(r deadletter.Record) error {
	t.records++
	t.kinds[replay.Kind{Target: r.TargetName, Reason: r.Reason}]++
	status := "-"
	if r.StatusCode != 0 {
		status = strconv.Itoa(r.StatusCode)
	}
	failure := oneLine(r.Error)
	if slices.Contains(event.ReservedTargets(), r.TargetName) { // users read the message in Kafka
		failure = fmt.Sprintf("topic %s, partition %d, offset %d: %s", printable(r.Source.Topic), r.Source.Partition, r.Source.Offset, failure)
	}
	return t.line(r.Timestamp.UTC().Format(time.RFC3339), printable(r.TargetName), printable(string(r.Reason)), status,
		strconv.Itoa(r.Attempts), printable(r.EventType), printable(r.EventID), failure)
}

func (t *tableRows) line(cells ...string) error {
	const gap = "  "
	widths := []int{timeWidth, t.targetWidth, reasonWidth, len("STATUS"), len("ATTEMPTS"), typeWidth, idWidth}
	if t.console.outWidth > 0 {
		const typeColumn = 5
		widths[typeColumn], cells[typeColumn] = typeEnding, ending(cells[typeColumn], typeEnding)
	}
	var row strings.Builder
	for n, width := range widths {
		row.WriteString(text.Pad(cells[n], width, ' '))
		row.WriteString(gap)
	}
	failure := cells[len(widths)]
	if t.console.outWidth > 0 {
		switch room := t.console.outWidth - text.StringWidthWithoutEscSequences(row.String()); {
		case room < leastError:
			failure = ""
		default:
			failure = text.Snip(failure, room, "…")
		}
	}
	_, err := fmt.Fprintln(t.console.out, strings.TrimRight(row.String()+failure, " "))
	return err
}

// ending returns the last characters of a text that is longer than width.
func ending(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	return "…" + string(runes[len(runes)-width+1:])
}

func (t *tableRows) end() error {
	_, err := fmt.Fprintf(t.console.out, "\n%s\nclosed records: %s\n", kindsTable(t.kinds, t.records), t.closed)
	return err
}

// kindsTable returns a table of the numbers of records by target and reason.
func kindsTable(kinds map[replay.Kind]int, total int) string {
	if total == 0 {
		return "no open dead letters"
	}
	counts := table.NewWriter()
	counts.AppendHeader(table.Row{"target", "reason", "records"})
	for _, kind := range sortedKinds(kinds) {
		counts.AppendRow(table.Row{printable(kind.Target), printable(string(kind.Reason)), kinds[kind]})
	}
	counts.AppendFooter(table.Row{"", "in all", total})
	return counts.Render()
}
