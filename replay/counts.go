package replay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Counts say how far a replay has come. They count deliveries.
type Counts struct {
	Deliveries  int // in all
	Sent        int // their run is started
	Delivered   int // their record is resolved
	FailedAgain int // a newer record has replaced the older one
	Skipped     int // a run of their event was open
}

// Left returns the number of deliveries whose record stays as it was.
func (c Counts) Left() int { return c.Deliveries - c.Delivered - c.FailedAgain - c.Skipped }

// ByTarget holds the counts of each target of a replay.
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

// mostRanked is how many targets are named in one line.
const mostRanked = 10

// ranked names the targets with the most deliveries first, and how many each has.
func ranked(deliveries map[string]int) string {
	names := slices.SortedFunc(maps.Keys(deliveries), func(a, b string) int {
		return cmp.Or(cmp.Compare(deliveries[b], deliveries[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(len(names), mostRanked)] {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, deliveries[name]))
	}
	if more := len(names) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("%d more targets", more))
	}
	return strings.Join(parts, ", ")
}
