package main

import (
	"fmt"
	"os"
	"path/filepath"
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

func (a account) settled() int { return len(a.delivered) + len(a.dead) }

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
	if extra := len(a.seen) - len(ids); extra > 0 {
		wrong = append(wrong, fmt.Sprintf("%s: %d events that were never published", name, extra))
	}
	return wrong
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
