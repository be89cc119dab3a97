package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"genesys-fanout/chaos/audit"
)

// report is the result of a run.
type report struct {
	world    *world
	facts    audit.Facts
	verdict  audit.Verdict
	branches []branch
	failures error // of faults that could not be injected or mended
}

// ok reports whether the run kept the promise.
func (r report) ok() bool {
	return len(r.verdict.Findings) == 0 && r.failures == nil && len(r.world.endings) == 0
}

// write prints the report, and for each finding every log line about its event.
func (r report) write(out io.Writer) error {
	var b strings.Builder
	w, v := r.world, r.verdict
	kinds, states, requests := make(map[audit.Kind]int), make(map[audit.State]int), len(r.facts.Requests)
	for _, m := range r.facts.Messages {
		kinds[m.Kind]++
	}
	for _, record := range r.facts.Records {
		states[record.State]++
	}
	fmt.Fprintf(&b, "\nseed %d, %s, %s\n", w.options.seed, time.Now().UTC().Format(time.DateOnly), time.Since(w.journal.began).Round(time.Second))
	fmt.Fprintf(&b, "lost %d\n\n", v.Lost())
	fmt.Fprintf(&b, "  %-44s %d\n", "events", v.Events)
	fmt.Fprintf(&b, "  %-44s %d\n", "deliveries", v.Deliveries)
	fmt.Fprintf(&b, "  %-44s %d\n", "requests", requests)
	fmt.Fprintf(&b, "  %-44s %d (%.2f %%)\n", "delivered again", v.Repeated, 100*float64(v.Repeated)/float64(max(1, v.Deliveries)))
	for _, cause := range slices.Sorted(maps.Keys(v.Causes)) {
		fmt.Fprintf(&b, "    %-42s %d\n", cause, v.Causes[cause])
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "  %-44s %d\n", "messages: "+string(kind), kinds[kind])
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(&b, "  %-44s %d\n", "records: "+string(state), states[state])
	}
	b.WriteString("\nrare branches\n")
	for _, one := range r.branches {
		never := ""
		if one.count == 0 {
			never = "   NEVER: this run shows nothing about it"
		}
		fmt.Fprintf(&b, "  %-44s %d%s\n", one.name, one.count, never)
	}
	r.writeProblems(&b)
	if w.options.out != "" {
		if err := w.save("report.txt", b.String()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// The most findings that are printed, and the most log lines about each.
const (
	mostFindings = 50
	mostLines    = 40
)

func (r report) writeProblems(b *strings.Builder) {
	if r.failures != nil {
		fmt.Fprintf(b, "\nfaults that went wrong\n  %s\n", strings.ReplaceAll(r.failures.Error(), "\n", "\n  "))
	}
	for _, ending := range r.world.endings {
		fmt.Fprintf(b, "\nended by itself: %s\n", ending)
	}
	findings := r.verdict.Findings
	if len(findings) == 0 {
		b.WriteString("\nno finding\n")
		return
	}
	fmt.Fprintf(b, "\n%d findings\n", len(findings))
	for _, f := range findings[:min(len(findings), mostFindings)] {
		fmt.Fprintf(b, "\n%s: event %s, target %s: %s\n", f.Rule, f.EventID, f.Target, f.Text)
		for _, record := range r.facts.Records {
			if record.EventID == f.EventID {
				fmt.Fprintf(b, "    record of %s: %s, %s, at %s, run %s\n", record.Target, record.State, record.Reason, record.At.Format(time.RFC3339Nano), record.RunID)
			}
		}
		for _, one := range r.facts.Runs {
			if one.EventID == f.EventID {
				fmt.Fprintf(b, "    run %s: %s, from %s to %s\n", one.RunID, one.Status, one.Started.Format(time.RFC3339Nano), one.Closed.Format(time.RFC3339Nano))
			}
		}
		for _, request := range r.facts.Requests {
			if request.EventID == f.EventID && (f.Target == "" || request.Target == f.Target) {
				fmt.Fprintf(b, "    request of %s to %s: attempt %d at %s, status %d at %s\n", request.Sender, request.Target, request.Attempt,
					request.At.UTC().Format(time.RFC3339Nano), request.Status, request.Answered.UTC().Format(time.RFC3339Nano))
			}
		}
		if f.EventID == "" {
			continue
		}
		lines := r.world.logsAbout(f.EventID)
		for _, line := range lines[:min(len(lines), mostLines)] {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
}

// save writes a file into the directory of -out.
func (w *world) save(name, text string) error {
	if err := os.MkdirAll(w.options.out, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.options.out, name), []byte(text), 0o600)
}

// saveLogs writes the output of the members into the directory of -out.
func (w *world) saveLogs() {
	if w.options.out == "" {
		return
	}
	for _, m := range w.members {
		if err := w.save(m.name+".log", strings.Join(m.lines(), "\n")); err != nil {
			w.journal.note("the log of %s was not saved: %v", m.name, err)
		}
	}
}
