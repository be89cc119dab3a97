// Command bench compares the fan-out with the highest rate that Temporal allows and with
// the simplest design, on this machine, in one run against one server. Its results are
// ratios, because absolute figures of a shared machine mean little, and those of two
// different runs cannot be compared.
//
// The rounds of the cases alternate: round 1 of every case, then round 2 of every case.
// So other load on the machine affects all cases alike. Each round of a case has its own
// topic, consumer group and task queue.
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
	before  string
	out     string
	doc     string
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.backend, "backend", "dev", "the Temporal server: dev is the dev server, in memory; postgres is a server on PostgreSQL")
	flag.IntVar(&o.rounds, "rounds", 3, "number of rounds of each case")
	flag.IntVar(&o.events, "events", 1500, "number of events in one round of a case")
	flag.StringVar(&o.only, "only", "", "names of the cases to measure, separated by commas (default: all cases of the table)")
	flag.StringVar(&o.table, "table", "core", "the table to measure: core is the fan-out; growth is more targets, larger events, history and memory; records is the command deadletter; windows is how long the outcome of a request is not durable; change compares the binaries with those of -before")
	flag.StringVar(&o.bin, "bin", "bin", "directory of the built binaries")
	flag.StringVar(&o.before, "before", "", "directory of the binaries of an earlier commit, for the table change")
	flag.StringVar(&o.out, "out", "bench/results", "directory for the results")
	flag.StringVar(&o.doc, "doc", "", "Markdown file in which the results replace the part between the markers of the table")
	flag.Parse()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func bench(ctx context.Context, o options) error {
	table, err := tableByName(o)
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
	report.compareCases(table.ratios)
	fmt.Print("\n", report.markdown())
	return save(report, o)
}

// save writes the results as JSON, as Markdown and as charts.
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
	charts, err := r.drawCharts(dir)
	if err != nil {
		return fmt.Errorf("draw the charts: %w", err)
	}
	fmt.Fprintln(os.Stderr, "The results are saved in", dir)
	if o.doc == "" {
		return nil
	}
	return r.insertInto(o.doc, charts)
}
