package main

import (
	"context"
	"errors"
	"path/filepath"
)

// change is a table that compares the binaries with those of an earlier commit. Each case
// is measured with both, one after the other in each round. before is the directory of
// the earlier binaries.
func change(before string) (table, error) {
	if before == "" {
		return table{}, errors.New("-before: the table change needs the directory of the binaries of an earlier commit")
	}
	before, err := filepath.Abs(before)
	if err != nil {
		return table{}, err
	}
	t := table{name: "change"}
	for _, c := range []benchCase{
		{"all up", "three targets, all up", ours(setup{targets: healthyTargets(3), history: true})},
		{"one 503", "one of three targets answers 503", ours(setup{targets: twoHealthyAnd(failing), history: true})},
		{"one hanging", "one of three targets never answers", ours(setup{targets: twoHealthyAnd(hanging), history: true})},
		{"one 429", "one of three targets answers 429 with Retry-After: 1", ours(setup{targets: twoHealthyAnd(limiting), history: true})},
	} {
		earlier := benchCase{c.name + ", before", "the same with the earlier binaries", withBinaries(before, c.measure)}
		t.cases = append(t.cases, c, earlier)
		for _, figure := range []string{rate, histLen, cpuServer} {
			t.ratios = append(t.ratios, ratio{
				name: c.name + ": " + figure + ", after ÷ before",
				of:   c.name, baseline: earlier.name, figure: figure, compare: quotient,
			})
		}
	}
	return t, nil
}

// withBinaries measures with the binaries of another directory.
func withBinaries(dir string, m measure) measure {
	return func(ctx context.Context, l *lab, round int) (figures, error) {
		usual := l.bin
		l.bin = dir
		defer func() { l.bin = usual }()
		return m(ctx, l, round)
	}
}
