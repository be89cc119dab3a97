package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// figures are the measured values of one round of a case, by name.
type figures map[string]float64

// The names of figures.
const (
	rate      = "events/s"
	p50       = "p50 ms"
	p99       = "p99 ms"
	startUp   = "start-up ms"
	memIngest = "ingest MB"
	memWorker = "worker MB"
	histLen   = "history events"
	histBytes = "history bytes"

	dbTransactions = "database transactions/event"
	dbRows         = "rows written/event"

	cpuServer = "server CPU ms/event"
	cpuIngest = "ingest CPU ms/event"
	cpuWorker = "worker CPU ms/event"
)

func (f figures) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		parts = append(parts, fmt.Sprintf("%s %.1f", name, f[name]))
	}
	return strings.Join(parts, ", ")
}

// measure runs one round of a case.
type measure func(ctx context.Context, l *lab, round int) (figures, error)

// benchCase is one measured case. It becomes a row of the results.
type benchCase struct {
	name    string
	about   string
	measure measure
}

// ratio compares a figure of one case with that of another, or with a goal alone.
type ratio struct {
	name     string
	of       string // a case's name
	baseline string // the name of the case to compare with; empty if there is none
	figure   string
	goal     float64 // 0: none
	// compare makes one value of the two figures. It is compared with the goal.
	compare func(of, baseline float64) float64
	atMost  bool // the goal is an upper bound instead of a lower bound
}

func quotient(of, baseline float64) float64   { return of / baseline }
func inverse(of, baseline float64) float64    { return baseline / of }
func difference(of, baseline float64) float64 { return of - baseline }
func itself(of, _ float64) float64            { return of }

// table is a group of cases that one run measures, and their ratios.
type table struct {
	name   string
	cases  []benchCase
	ratios []ratio
}

// only returns the cases with the given names, which are separated by commas. It
// returns all cases if names is empty.
func (t table) only(names string) ([]benchCase, error) {
	if names == "" {
		return t.cases, nil
	}
	var kept []benchCase
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(t.cases, func(c benchCase) bool { return c.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("-only: the table %s has no case %q; choose from: %s", t.name, name, t.caseNames())
		}
		kept = append(kept, t.cases[i])
	}
	return kept, nil
}

func (t table) caseNames() string {
	var names []string
	for _, c := range t.cases {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

func tableByName(o options) (table, error) {
	switch o.table {
	case "core":
		return core(), nil
	case "growth":
		return growth(), nil
	case "records":
		return recordsTable(), nil
	case "windows":
		return windows(), nil
	case "change":
		return change(o.before)
	}
	return table{}, fmt.Errorf("-table: there is no table %q; choose core, growth, records, windows or change", o.table)
}

// core is the table of "make bench".
func core() table {
	three := healthyTargets(3)
	return table{
		name: "core",
		cases: []benchCase{
			{"ceiling", "an empty workflow, started eagerly by a bare client loop", ceiling},
			{"plain", "three regular activities, no eager start", plain},
			{"ours", "three targets, all up", ours(setup{targets: three})},
			{"one hanging", "one of three targets never answers", ours(setup{targets: twoHealthyAnd(hanging)})},
			{"one 503", "one of three targets answers 503", ours(setup{targets: twoHealthyAnd(failing)})},
			{"one refusing", "one of three targets refuses connections", ours(setup{targets: twoHealthyAnd(refusing)})},
			{"one 429", "one of three targets answers 429 with Retry-After: 1", ours(setup{targets: twoHealthyAnd(limiting)})},
			{"not eager", "FANOUT_EAGER_START=false", ours(setup{targets: three, env: []string{"FANOUT_EAGER_START=false"}})},
			{"bare starts", "the same inputs started by a bare client loop; nobody polls", bareStarts},
			{"ingest starts", "ingest starts them; nobody polls", ingestStarts},
			{"half load", "half of the rate of ours in the first round", latency(setup{targets: three})},
			{"half load hanging", "the same with one of three targets hanging; the other two", latency(setup{targets: twoHealthyAnd(hanging)})},
			{"half load 503", "the same with one of three targets answering 503; the other two", latency(setup{targets: twoHealthyAnd(failing)})},
		},
		ratios: []ratio{
			{"ours ÷ ceiling", "ours", "ceiling", rate, 0.9, quotient, false},
			{"ours ÷ plain", "ours", "plain", rate, 4, quotient, false},
			{"one hanging ÷ all up", "one hanging", "ours", rate, 0.85, quotient, false},
			{"one 503 ÷ all up", "one 503", "ours", rate, 0.95, quotient, false},
			{"one refusing ÷ all up", "one refusing", "ours", rate, 0.95, quotient, false},
			{"one 429 ÷ all up", "one 429", "ours", rate, 0.95, quotient, false},
			{"not eager ÷ eager", "not eager", "ours", rate, 0, quotient, false},
			{"starts of ingest ÷ bare loop", "ingest starts", "bare starts", rate, 0.95, quotient, false},
			{"p99 at half load, ms", "half load", "", p99, 250, itself, true},
			{"p99 more with one hanging, ms", "half load hanging", "half load", p99, 50, difference, true},
			{"p99 more with one 503, ms", "half load 503", "half load", p99, 50, difference, true},
		},
	}
}

// backlog is the number of events that are in the topic when memory is measured.
const backlog = 100_000

// growth is a table of "make bench-all": how the cost grows with the number of targets
// and the size of events.
func growth() table {
	sized := func(size int) measure { return ours(setup{targets: healthyTargets(3), size: size, history: true}) }
	withHistory := func(third behaviour) measure {
		return ours(setup{targets: twoHealthyAnd(third), history: true})
	}
	return table{
		name: "growth",
		cases: []benchCase{
			{"1 target", "1 KB events", ours(setup{targets: healthyTargets(1), history: true})},
			{"3 targets", "1 KB events", sized(kilobyte)},
			{"10 targets", "1 KB events", ours(setup{targets: healthyTargets(10), history: true})},
			{"10 KB", "three targets", sized(10 * kilobyte)},
			{"100 KB", "three targets", sized(100 * kilobyte)},
			{"sizes as seen", "three targets, the events of a contact centre as large as they come", sized(naturalSize)},
			{"2 ingests", "three targets, 1 KB events, two ingest processes", ours(setup{targets: healthyTargets(3), ingests: 2})},
			{"one hanging", "one of three targets never answers", withHistory(hanging)},
			{"one 503", "one of three targets answers 503", withHistory(failing)},
			{"one refusing", "one of three targets refuses connections", withHistory(refusing)},
			{"one 429", "one of three targets answers 429 with Retry-After: 1", withHistory(limiting)},
			{"memory", fmt.Sprintf("%d events wait in the topic; most resident memory in %s", backlog, memoryTime), memory},
		},
		ratios: []ratio{
			{"10 targets, cost of 1", "10 targets", "1 target", rate, 2.5, inverse, true},
			{"3 targets, cost of 1", "3 targets", "1 target", rate, 0, inverse, true},
			{"10 KB, cost of 1 KB", "10 KB", "3 targets", rate, 0, inverse, true},
			{"100 KB, cost of 1 KB", "100 KB", "3 targets", rate, 0, inverse, true},
			{"sizes as seen, cost of 1 KB", "sizes as seen", "3 targets", rate, 0, inverse, true},
			{"2 ingests ÷ 1", "2 ingests", "3 targets", rate, 0, quotient, false},
			{"ingest, MB", "memory", "", memIngest, 150, itself, true},
			{"worker, MB", "memory", "", memWorker, 150, itself, true},
		},
	}
}
