// Command chaos runs the fan-out under injected faults, and audits what became of each event.
//
// It starts a broker, Temporal, five targets, two workers and two ingests, all on this machine, and
// produces the events of a contact centre. Meanwhile it injects faults: it kills, stops and pauses
// each process and server, disturbs the network between them and the disk of the tracker, makes
// Temporal's writes ambiguous, restores Temporal from a dump, and does what operators do. A printed
// seed determines the order of the faults. The times at which they meet the events differ from run
// to run.
//
// When the faults are over and every delivery is settled, package audit judges the facts. The exit
// status is 0 if it has no finding, 1 if it has some or if the run could not be made, and 2 for wrong
// flags.
//
// The files:
//
//   - main.go: the flags and the steps of a run; world.go, parts.go, member.go, network.go: what runs
//   - traffic.go, targets.go: the messages, and how the targets answer
//   - fault.go: the schedule; processfaults.go, serverfaults.go, networkfaults.go, trackerfaults.go,
//     failpointfaults.go, operatorfaults.go: the faults
//   - journal.go, observe.go, coverage.go: what was done, what became of it, and which rare branches
//     were reached; report.go prints it
//   - audit/: the judgement
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"genesys-fanout/chaos/audit"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

type options struct {
	seed     uint64
	events   int
	duration time.Duration
	faults   []fault
	bin      string
	out      string
	keep     bool
}

const (
	exitOK, exitFailed, exitUsage = 0, 1, 2
)

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, done, err := parse(args, stdout, stderr)
	if errors.Is(err, flag.ErrHelp) || done {
		return exitOK
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "chaos:", err)
		return exitUsage
	}
	ok, err := chaos(ctx, o, stdout)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "chaos:", err)
		return exitFailed
	}
	if !ok {
		return exitFailed
	}
	return exitOK
}

// parse reads the flags. done is true if the flags asked for a list only.
func parse(args []string, stdout, stderr io.Writer) (o options, done bool, err error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var names, bin string
	var list bool
	flags.Uint64Var(&o.seed, "seed", 0, "the seed of the order of the faults and of the events; 0 chooses one")
	flags.IntVar(&o.events, "events", 10_000, "number of events to produce")
	flags.DurationVar(&o.duration, "duration", 8*time.Minute, "the time in which the events are produced")
	flags.StringVar(&names, "faults", "", "parts of the names of the faults to inject, separated by commas (default: all)")
	flags.BoolVar(&list, "list", false, "print the names of the faults, and end")
	flags.StringVar(&bin, "bin", "bin/failpoints", "directory of the binaries that were built with failpoints")
	flags.StringVar(&o.out, "out", "", "directory for the report and the logs (default: none is written)")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder of the run, with the tracker and the logs")
	if err := flags.Parse(args); err != nil {
		return o, false, err
	}
	if list {
		for _, f := range faults() {
			_, _ = fmt.Fprintln(stdout, f.name)
		}
		return o, true, nil
	}
	if o.bin, err = filepath.Abs(bin); err != nil {
		return o, false, err
	}
	if o.events < 1 || o.duration <= 0 {
		return o, false, errors.New("-events and -duration must be above zero")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	var texts []string
	if names != "" {
		texts = strings.Split(names, ",")
	}
	o.faults, err = chosen(texts)
	return o, false, err
}

// chaos makes a run. It returns whether the audit had no finding and every process behaved.
func chaos(ctx context.Context, o options, out io.Writer) (bool, error) {
	j := newJournal(out)
	j.note("seed %d: %d events in %s, %d faults", o.seed, o.events, o.duration, len(o.faults))
	w, err := build(ctx, o, j)
	if err != nil {
		return false, err
	}
	defer w.close()
	sampling, stopSampling := context.WithCancel(ctx)
	defer stopSampling()
	var sampled commits
	go sampled.sample(sampling, w)
	go w.sampleCounters(sampling)

	producing := make(chan error, 1)
	go func() { producing <- w.traffic.produce(ctx, w.kafka, o.events, o.duration) }()
	failures := newSchedule(o.faults, w.random).run(ctx, w)
	if err := <-producing; err != nil {
		return false, fmt.Errorf("produce: %w", err)
	}
	j.note("the faults are over and %d messages are produced; waiting until every delivery is settled", w.traffic.count())
	if err := w.settle(ctx); err != nil {
		w.saveLogs()
		return false, err
	}
	stopSampling()
	for _, m := range w.members {
		m.sample(ctx)
	}
	facts, read, err := w.observe(ctx, &sampled)
	if err != nil {
		return false, err
	}
	r := report{world: w, verdict: audit.Judge(facts), branches: w.branches(facts, read), facts: facts, failures: failures}
	if err := r.write(out); err != nil {
		return false, err
	}
	w.saveLogs()
	return r.ok(), nil
}

// settle waits until every delivery is settled, replays the dead letters to the repaired target, and
// waits again.
func (w *world) settle(ctx context.Context) error {
	if err := w.waitReady(ctx); err != nil {
		return err
	}
	if err := w.awaitSettled(ctx); err != nil {
		return err
	}
	w.weather.repaired.Store(true)
	out, code, err := w.deadletter(ctx, "replay", "--all", "--yes")
	if err != nil {
		return err
	}
	w.journal.note("deadletter replay: exit %d: %s", code, lastLine(out))
	return w.awaitSettled(ctx)
}
