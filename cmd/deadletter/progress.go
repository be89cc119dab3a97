package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"genesys-fanout/replay"
)

// countsText returns the counts of a replay in words.
func countsText(c replay.Counts) string {
	return strings.Join([]string{
		fmt.Sprintf("sent %d", c.Sent), fmt.Sprintf("delivered %d", c.Delivered), fmt.Sprintf("failed again %d", c.FailedAgain),
		fmt.Sprintf("skipped %d", c.Skipped), fmt.Sprintf("left %d", c.Left()),
	}, ", ")
}

// maxTargets is the most targets that a line names, however wide it is.
const maxTargets = 10

// progressText returns the counts of a replay in words and, if it has several targets, the
// progress of each. A width of 0 means no limit. If the text is longer than the width, it has
// only as many targets as fit, those with the most deliveries left first.
func progressText(t replay.ByTarget, width int) string {
	all := countsText(t.Sum())
	if len(t) < 2 {
		return all
	}
	names := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		return cmp.Or(cmp.Compare(t[b].Left(), t[a].Left()), cmp.Compare(a, b))
	})
	text := all + "; " + targetsText(t, names, maxTargets)
	for limit := maxTargets; width > 0 && len(text) > width && limit > 0; limit-- {
		text = targetsText(t, names, limit)
	}
	return text
}

// targetsText returns the progress of the first targets of names, limit at most.
func targetsText(t replay.ByTarget, names []string, limit int) string {
	var parts []string
	for _, name := range names[:min(limit, len(names))] {
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
