package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// fault is something that goes wrong, or something that an operator does.
type fault struct {
	name string
	lane lane
	// needs returns why the fault is impossible in a world, such as a part that is missing, or "".
	needs func(*world) string
	// inject lets the fault happen, and mends it before it returns, also if ctx ends. It returns an
	// error only if the fault could not be injected or mended.
	inject func(ctx context.Context, w *world, r *rand.Rand) error
}

// lane is a sequence of faults. Faults of one lane happen one after the other, those of different
// lanes at the same time.
type lane string

const (
	laneProcesses lane = "processes" // our processes, Temporal, its database, the broker
	laneNetwork   lane = "network"
	laneTracker   lane = "tracker"
	laneRestore   lane = "restore"
	laneOperator  lane = "operator"
)

// faults returns every fault.
func faults() []fault {
	return slices.Concat(processFaults(), serverFaults(), networkFaults(), trackerFaults(), failpointFaults(), operatorFaults())
}

// chosen returns the faults whose names contain one of the texts, or all faults if there are no texts.
func chosen(texts []string) ([]fault, error) {
	all := faults()
	if len(texts) == 0 {
		return all, nil
	}
	var found []fault
	for _, text := range texts {
		n := len(found)
		for _, f := range all {
			if strings.Contains(f.name, text) {
				found = append(found, f)
			}
		}
		if len(found) == n {
			return nil, fmt.Errorf("-faults: no fault has %q in its name; -list prints all names", text)
		}
	}
	return found, nil
}

// schedule is the order of the faults of each lane.
type schedule map[lane][]fault

// newSchedule orders the faults by the seed.
func newSchedule(list []fault, r *rand.Rand) schedule {
	s := make(schedule)
	for _, f := range list {
		s[f.lane] = append(s[f.lane], f)
	}
	for _, l := range slices.Sorted(keys(s)) {
		r.Shuffle(len(s[l]), func(i, j int) { s[l][i], s[l][j] = s[l][j], s[l][i] })
	}
	return s
}

// breath returns the longest pause between two faults of a lane. What an operator does takes no time,
// so it is spread over the run.
func (l lane) breath() time.Duration {
	if l == laneOperator {
		return 90 * time.Second
	}
	return 4 * time.Second
}

// run injects the faults of every lane once. It returns when they are over, with the errors of those
// that could not be injected.
func (s schedule) run(ctx context.Context, w *world) error {
	results := make(chan error)
	for l, list := range s {
		seed := w.options.seed + uint64(len(l))<<32 + uint64(l[0])
		go func() { results <- runLane(ctx, w, list, newRandom(seed)) }()
	}
	var failures []error
	for range s {
		failures = append(failures, <-results)
	}
	return errors.Join(failures...)
}

func runLane(ctx context.Context, w *world, list []fault, r *rand.Rand) error {
	var failures []error
	for _, f := range list {
		if f.needs != nil {
			if why := f.needs(w); why != "" {
				w.journal.note("%s: left out, because %s", f.name, why)
				continue
			}
		}
		if !pause(ctx, rand.N(f.lane.breath())) {
			break
		}
		w.journal.note("%s", f.name)
		if err := f.inject(ctx, w, r); err != nil && ctx.Err() == nil {
			w.journal.note("%s: %v", f.name, err)
			failures = append(failures, fmt.Errorf("%s: %w", f.name, err))
			continue
		}
		w.journal.injected(f.name)
	}
	return errors.Join(failures...)
}
