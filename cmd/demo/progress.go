package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/schollz/progressbar/v3"
)

const (
	redrawInterval = 200 * time.Millisecond // of the table on a terminal
	lineInterval   = 2 * time.Second        // between two lines, if there is no terminal
)

// progressPrinter returns a function that prints the progress. done is the number of events
// that are done, over all targets. On a terminal it draws one table again and again; else it
// prints a line every lineInterval.
func (d *demo) progressPrinter() func(results map[string]targetResult, done int) {
	if !d.onTerminal {
		var last time.Time
		return func(results map[string]targetResult, _ int) {
			if time.Since(last) >= lineInterval {
				last = time.Now()
				fmt.Println(progressLine(results, events))
			}
		}
	}
	bar := progressbar.NewOptions(events*len(targetNames), progressbar.OptionSetWriter(new(strings.Builder)),
		progressbar.OptionSetDescription("done"), progressbar.OptionShowCount(), progressbar.OptionSetWidth(40))
	drawnLines := 0
	return func(results map[string]targetResult, done int) {
		if drawnLines > 0 {
			fmt.Printf("\x1b[%dA\x1b[J", drawnLines) // moves up, and clears to the end
		}
		_ = bar.Set(done) // the demo continues without a bar
		text := progressTable(results, events) + "\n" + strings.TrimSpace(bar.String())
		drawnLines = strings.Count(text, "\n") + 1
		fmt.Println(text)
	}
}

// progressTable returns the results of all targets as a table.
func progressTable(results map[string]targetResult, total int) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"target", "delivered", "retrying", "dead letters", "of"})
	for _, name := range targetNames {
		r := results[name]
		t.AppendRow(table.Row{name, len(r.delivered), r.retrying(), len(r.deadLetters), total})
	}
	return t.Render()
}

// progressLine returns the results of all targets as one line.
func progressLine(results map[string]targetResult, total int) string {
	parts := make([]string, 0, len(targetNames))
	for _, name := range targetNames {
		r := results[name]
		parts = append(parts, fmt.Sprintf("%s %d delivered, %d retrying, %d dead letters", name, len(r.delivered), r.retrying(), len(r.deadLetters)))
	}
	return fmt.Sprintf("of %d events: %s", total, strings.Join(parts, "; "))
}
