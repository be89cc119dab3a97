package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
)

// account is what became of the events at one target.
type account struct {
	delivered map[string]int  // good answers by event
	seen      map[string]bool // events with any request
	dead      map[string]bool // events with a dead letter
}

// accountOf counts a target's answers and the dead letters in dir.
func accountOf(name string, target *devstack.Target, dir string, ids []string) account {
	a := account{delivered: make(map[string]int), seen: make(map[string]bool), dead: make(map[string]bool)}
	for _, r := range target.Requests() {
		a.seen[r.EventID] = true
		if r.Status >= 200 && r.Status <= 299 {
			a.delivered[r.EventID]++
		}
	}
	for _, id := range ids {
		if _, err := os.Stat(filepath.Join(dir, deadletter.FileName(name, id))); err == nil {
			a.dead[event.Escape(id)] = true
		}
	}
	return a
}

// retrying is the number of events that were tried and are not settled.
func (a account) retrying() int {
	n := 0
	for id := range a.seen {
		if a.delivered[id] == 0 && !a.dead[id] {
			n++
		}
	}
	return n
}

// settled is the number of events that were delivered or given up.
func (a account) settled() int {
	n := len(a.delivered)
	for id := range a.dead {
		if a.delivered[id] == 0 {
			n++
		}
	}
	return n
}

// check says what is wrong at a target: each event must have been delivered
// once, or be a dead letter where it was rejected.
func (a account) check(name string, ids []string, rejected map[string]bool) []string {
	var wrong []string
	for _, id := range ids {
		id = event.Escape(id)
		want, dead := 1, false
		if name == compliance && rejected[id] {
			want, dead = 0, true
		}
		if a.delivered[id] != want {
			wrong = append(wrong, fmt.Sprintf("%s: event %s was delivered %d times, want %d", name, id, a.delivered[id], want))
		}
		if a.dead[id] != dead {
			wrong = append(wrong, fmt.Sprintf("%s: event %s: dead letter %t, want %t", name, id, a.dead[id], dead))
		}
	}
	for id := range a.seen {
		if !slices.ContainsFunc(ids, func(published string) bool { return event.Escape(published) == id }) {
			wrong = append(wrong, fmt.Sprintf("%s: event %s was never published", name, id))
		}
	}
	return wrong
}

// readRecords reads every open dead letter in dir, by file name. One that is no
// record is the zero Record.
func readRecords(dir string) (map[string]deadletter.Record, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	records := make(map[string]deadletter.Record)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var record deadletter.Record
		_ = json.Unmarshal(text, &record) // checkRecords finds what is missing
		records[filepath.Base(file)] = record
	}
	return records, nil
}

// checkRecords says what is wrong with the dead letters: there must be one for
// each rejected event, with the target's answer, and no other.
func checkRecords(records map[string]deadletter.Record, ids []string, rejected map[string]bool) []string {
	var wrong []string
	expected := make(map[string]bool)
	for _, id := range ids {
		if !rejected[event.Escape(id)] {
			continue
		}
		name := deadletter.FileName(compliance, id)
		expected[name] = true
		record, found := records[name]
		if !found {
			wrong = append(wrong, fmt.Sprintf("dead letter %s is missing", name))
		} else if record.EventID != id || record.Reason != event.ReasonRejected || record.StatusCode != http.StatusUnprocessableEntity {
			wrong = append(wrong, fmt.Sprintf("dead letter %s holds event %q, reason %q, status %d", name, record.EventID, record.Reason, record.StatusCode))
		}
	}
	for name := range records {
		if !expected[name] {
			wrong = append(wrong, fmt.Sprintf("dead letter %s is one too many", name))
		}
	}
	return wrong
}

// checkRuns says what is wrong with the numbers of runs by status: one run for
// each event, failed where a target rejected it.
func checkRuns(runs map[string]int, total, failed int) []string {
	var wrong []string
	if runs["Failed"] != failed {
		wrong = append(wrong, fmt.Sprintf("Temporal: %d runs failed, want %d", runs["Failed"], failed))
	}
	if runs["Completed"] != total-failed {
		wrong = append(wrong, fmt.Sprintf("Temporal: %d runs completed, want %d", runs["Completed"], total-failed))
	}
	return wrong
}

// mostShown of what is wrong; where everything is, more helps nobody.
const mostShown = 20

func shortened(wrong []string) []string {
	if len(wrong) <= mostShown {
		return wrong
	}
	return append(wrong[:mostShown:mostShown], fmt.Sprintf("… and %d more", len(wrong)-mostShown))
}

// tabulate is the state of all targets as a table.
func tabulate(accounts map[string]account, total int) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"target", "delivered", "retrying", "dead", "of"})
	for _, name := range targetNames {
		a := accounts[name]
		t.AppendRow(table.Row{name, len(a.delivered), a.retrying(), len(a.dead), total})
	}
	return t.Render()
}

// line is the same for where there is no terminal.
func line(accounts map[string]account, total int) string {
	parts := make([]string, 0, len(targetNames))
	for _, name := range targetNames {
		a := accounts[name]
		parts = append(parts, fmt.Sprintf("%s %d delivered, %d retrying, %d dead", name, len(a.delivered), a.retrying(), len(a.dead)))
	}
	return fmt.Sprintf("of %d events: %s", total, strings.Join(parts, "; "))
}
