// Command bench measures the fan-out against the most that Temporal allows and
// against the design that one would write first, on this machine, in one run on
// one server. What it prints are ratios: absolute figures of a shared machine
// say little, and those of two runs nothing.
//
// The rounds are interleaved, round 1 of every case and then round 2, so that
// the machine's noise falls on all alike. Each case and round has a topic, a
// consumer group and a task queue of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run()) }

type options struct {
	backend string
	rounds  int
	events  int
	only    string
	table   string
	bin     string
	out     string
	doc     string
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.backend, "backend", "dev", "dev: Temporal's dev server, in memory; postgres: a Temporal server on PostgreSQL")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each case")
	flag.IntVar(&o.events, "events", 1500, "events per round of a case")
	flag.StringVar(&o.only, "only", "", "names of cases, with commas; default all of the table")
	flag.StringVar(&o.table, "table", "core", "core: the fan-out; growth: memory, growth and history; records: the command deadletter")
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built binaries")
	flag.StringVar(&o.out, "out", "bench/results", "folder for the results")
	flag.StringVar(&o.doc, "doc", "", "Markdown file whose marked part is replaced by the table")
	flag.Parse()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func bench(ctx context.Context, o options) error {
	table, err := tableOf(o.table)
	if err != nil {
		return err
	}
	cases, err := table.only(o.only)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.warmUp(ctx); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	report, err := newReport(o, table.name)
	if err != nil {
		return err
	}
	for round := 1; round <= o.rounds; round++ {
		for _, c := range cases {
			began := time.Now()
			got, err := c.measure(ctx, l, round)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", c.name, round, err)
			}
			report.add(c, got)
			if c.name == "ours" && round == 1 {
				l.saturated = got[rate]
			}
			fmt.Fprintf(os.Stderr, "round %d/%d  %-26s %s  (%.0f s)\n", round, o.rounds, c.name, got, time.Since(began).Seconds())
		}
	}
	report.conclude(table.ratios)
	fmt.Print("\n", report.markdown())
	return save(report, o)
}

// save writes the results, their table and their plots.
func save(r *Report, o options) error {
	dir := filepath.Join(o.out, strings.Join([]string{r.Date.Format("2006-01-02-1504"), r.Backend, r.Table}, "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := r.writeJSON(filepath.Join(dir, "results.json")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.md"), []byte(r.markdown()), 0o644); err != nil { //nolint:gosec // a public document
		return err
	}
	plots, err := r.plot(dir)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	fmt.Fprintln(os.Stderr, "saved in", dir)
	if o.doc == "" {
		return nil
	}
	return r.insertInto(o.doc, plots)
}
