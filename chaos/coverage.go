package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"genesys-fanout/chaos/audit"
)

// branch is a rare branch of the code, which the faults must reach. Otherwise the run proves nothing
// about it.
type branch struct {
	name  string
	count int
}

// branches counts the rare branches that the run has reached: from the counters and the logs of the
// members, from the histories of the runs, and from the tracker.
func (w *world) branches(f audit.Facts, h *histories) []branch {
	sum := make(map[string]float64)
	var lines []string
	for _, m := range w.members {
		for sample, value := range m.counted() {
			sum[sample] += value
		}
		lines = append(lines, m.lines()...)
	}
	counted := func(name string, labels ...string) int {
		total := 0.0
		for sample, value := range sum {
			if strings.HasPrefix(sample, name+"{") && !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(sample, l) }) {
				total += value
			}
		}
		return int(total)
	}
	logged := func(text string) int { return len(containing(lines, text)) }
	superseded, resolved := 0, 0
	for _, r := range f.Records {
		switch r.State {
		case audit.Superseded:
			superseded++
		case audit.Resolved:
			resolved++
		}
	}
	return []branch{
		{"question to another process, answered", h.answered},
		{"question to another process, silence", h.silent},
		{"duplicate dropped", counted("fanout_workflows_started_total", `result="duplicate"`)},
		{"conflict recorded", counted("fanout_workflows_started_total", `result="conflict"`)},
		{"held: no attempt was spent", counted("fanout_deliveries_total", `outcome="held"`)},
		{"attempt of the retry lane", counted("fanout_deliveries_total", `lane="retry"`, `outcome="delivered"`)},
		{"target blocked by its gate or breaker", counted("fanout_target_held")},
		{"start with an unknown answer, repeated", logged("waiting for Temporal to accept runs")},
		{"partitions revoked", logged("partitions revoked")},
		{"session rebuilt", logged("reading the connection details again")},
		{"tracker not ready", logged("the tracker is not ready")},
		{"record superseded", superseded},
		{"record resolved", resolved},
	}
}

// counters reads the samples of the project's own metrics.
func counters(text string) map[string]float64 {
	found := make(map[string]float64)
	for line := range strings.Lines(text) {
		sample, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(sample, "fanout_") {
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			found[sample+"}"] = n
		}
	}
	return found
}

func containing(lines []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.Contains(line, text) })
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) { return maps.Keys(m) }
