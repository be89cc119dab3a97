package replay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Counts are the numbers of deliveries that show how far a replay has come.
type Counts struct {
	Deliveries  int // in all
	Sent        int // a run was started for them
	Delivered   int // their record is resolved
	FailedAgain int // a newer record has replaced the older one
	Skipped     int // another run of their event was open
}

// Left returns the number of deliveries that were not delivered, did not fail again and were
// not skipped. Their record is unchanged, or a user has discarded it.
func (c Counts) Left() int { return c.Deliveries - c.Delivered - c.FailedAgain - c.Skipped }

// ByTarget is the counts of each target of a replay.
type ByTarget map[string]Counts

// Sum returns the counts of all targets together.
func (t ByTarget) Sum() Counts {
	var sum Counts
	for _, c := range t {
		sum.Deliveries += c.Deliveries
		sum.Sent += c.Sent
		sum.Delivered += c.Delivered
		sum.FailedAgain += c.FailedAgain
		sum.Skipped += c.Skipped
	}
	return sum
}

// maxTargetsListed is the most targets that one line names.
const maxTargetsListed = 10

// targetsByCount returns a text that names the targets, each with its number of deliveries,
// those with the most deliveries first.
func targetsByCount(deliveries map[string]int) string {
	names := slices.SortedFunc(maps.Keys(deliveries), func(a, b string) int {
		return cmp.Or(cmp.Compare(deliveries[b], deliveries[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(len(names), maxTargetsListed)] {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, deliveries[name]))
	}
	if more := len(names) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("%d more targets", more))
	}
	return strings.Join(parts, ", ")
}
