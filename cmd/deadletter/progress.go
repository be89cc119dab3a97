package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"genesys-fanout/replay"
)

// progress says in words how far a replay has come.
func progress(c replay.Counts) string {
	return strings.Join([]string{
		fmt.Sprintf("sent %d", c.Sent), fmt.Sprintf("delivered %d", c.Delivered), fmt.Sprintf("failed again %d", c.FailedAgain),
		fmt.Sprintf("skipped %d", c.Skipped), fmt.Sprintf("left %d", c.Left()),
	}, ", ")
}

// mostTargets is how many targets a line names, however wide it may be.
const mostTargets = 10

// progressOf says the same, and how far each target has come if there are several.
// A width of 0 has room for all of it; if a width is too small, the targets with
// the most deliveries left remain.
func progressOf(t replay.ByTarget, width int) string {
	all := progress(t.Sum())
	if len(t) < 2 {
		return all
	}
	names := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		return cmp.Or(cmp.Compare(t[b].Left(), t[a].Left()), cmp.Compare(a, b))
	})
	text := all + "; " + named(t, names, mostTargets)
	for most := mostTargets; width > 0 && len(text) > width && most > 0; most-- {
		text = named(t, names, most)
	}
	return text
}

// named says how far the first most of the targets have come.
func named(t replay.ByTarget, names []string, most int) string {
	var parts []string
	for _, name := range names[:min(most, len(names))] {
		part := fmt.Sprintf("%s %d of %d", name, t[name].Delivered, t[name].Deliveries)
		if again := t[name].FailedAgain; again > 0 {
			part += fmt.Sprintf(" (%d failed again)", again)
		}
		parts = append(parts, part)
	}
	if more := len(names) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}
