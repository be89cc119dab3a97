package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Report is the content of results.json.
type Report struct {
	Date     time.Time
	Table    string
	Backend  string
	Machine  Machine
	Versions map[string]string
	Rounds   int
	Events   int
	Cases    []CaseResult
	Ratios   []RatioResult
}

// Machine is the machine on which the report was measured.
type Machine struct {
	CPU      string
	Cores    int
	MemoryMB int
	Kernel   string
}

// CaseResult contains the figures of every round of one case.
type CaseResult struct {
	Name   string
	About  string
	Rounds []figures
}

// RatioResult compares two cases round by round.
type RatioResult struct {
	Name             string
	Median, Min, Max float64
	Goal             float64 // 0: none
	AtMost           bool    // the goal is an upper bound instead of a lower bound
	Reached          bool
}

func newReport(o options, table string) (*Report, error) {
	machine, err := thisMachine()
	if err != nil {
		return nil, err
	}
	return &Report{
		Date: time.Now().UTC().Truncate(time.Second), Table: table, Backend: o.backend, Machine: machine,
		Versions: versions(), Rounds: o.rounds, Events: o.events,
	}, nil
}

// thisMachine describes this machine from /proc. On other systems than Linux it knows
// only the number of cores and the architecture.
func thisMachine() (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), CPU: runtime.GOARCH, Kernel: runtime.GOOS}
	if runtime.GOOS != "linux" {
		return m, nil
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(cpu)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, err
	}
	var kilobytes int
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %d kB", &kilobytes); err == nil {
		m.MemoryMB = kilobytes >> 10
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(kernel))
	return m, err
}

// versions returns the versions of Go, of the modules that affect the results, and of
// this project.
func versions() map[string]string {
	v := map[string]string{"go": runtime.Version(), "commit": commit()}
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		switch dep.Path {
		case "go.temporal.io/sdk", "github.com/confluentinc/confluent-kafka-go/v2":
			v[dep.Path] = dep.Version
		}
	}
	return v
}

func commit() string {
	out, err := exec.CommandContext(context.Background(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// add adds one round of a case.
func (r *Report) add(c benchCase, got figures) {
	i := slices.IndexFunc(r.Cases, func(known CaseResult) bool { return known.Name == c.name })
	if i < 0 {
		i = len(r.Cases)
		r.Cases = append(r.Cases, CaseResult{Name: c.name, About: c.about})
	}
	r.Cases[i].Rounds = append(r.Cases[i].Rounds, got)
}

func (r *Report) rounds(name string) []figures {
	for _, c := range r.Cases {
		if c.Name == name {
			return c.Rounds
		}
	}
	return nil
}

// compareCases computes the ratios of the cases that were measured. It compares each round
// with the same round of the other case, because both ran under similar load.
func (r *Report) compareCases(ratios []ratio) {
	for _, q := range ratios {
		of, baseline := r.rounds(q.of), r.rounds(q.baseline)
		var values []float64
		for i := range of {
			switch {
			case q.baseline == "":
				values = append(values, q.compare(of[i][q.figure], 0))
			case i < len(baseline):
				values = append(values, q.compare(of[i][q.figure], baseline[i][q.figure]))
			}
		}
		if len(values) == 0 {
			continue
		}
		got := RatioResult{Name: q.name, Median: median(values), Min: slices.Min(values), Max: slices.Max(values), Goal: q.goal, AtMost: q.atMost}
		got.Reached = got.Goal == 0 || got.AtMost && got.Median <= got.Goal || !got.AtMost && got.Median >= got.Goal
		r.Ratios = append(r.Ratios, got)
	}
}

// markdown returns the report as Markdown tables.
func (r *Report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, backend %s, %s, %d cores, %d MB, Linux %s; %s; commit %s; %d rounds of %d events.\n\n",
		r.Date.Format("2006-01-02"), r.Backend, r.Machine.CPU, r.Machine.Cores, r.Machine.MemoryMB, r.Machine.Kernel,
		r.Versions["go"], r.Versions["commit"], r.Rounds, r.Events)
	b.WriteString("| ratio | median | least–most | goal | |\n|---|---|---|---|---|\n")
	for _, q := range r.Ratios {
		fmt.Fprintf(&b, "| %s | %s | %s–%s | %s | %s |\n", q.Name, formatFigure(q.Median), formatFigure(q.Min), formatFigure(q.Max), q.goal(), q.verdict())
	}
	b.WriteString("\n| case | | figures, median (least–most) |\n|---|---|---|\n")
	for _, c := range r.Cases {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, c.About, c.summary())
	}
	return b.String()
}

func (q RatioResult) goal() string {
	switch {
	case q.Goal == 0:
		return ""
	case q.AtMost:
		return "≤ " + formatFigure(q.Goal)
	}
	return "≥ " + formatFigure(q.Goal)
}

func (q RatioResult) verdict() string {
	switch {
	case q.Goal == 0:
		return ""
	case q.Reached:
		return "reached"
	}
	return "missed"
}

func (c CaseResult) summary() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Rounds[0])) {
		values := c.values(name)
		parts = append(parts, fmt.Sprintf("%s %s (%s–%s)", name, formatFigure(median(values)), formatFigure(slices.Min(values)), formatFigure(slices.Max(values))))
	}
	return strings.Join(parts, "; ")
}

func (c CaseResult) values(figure string) []float64 {
	var values []float64
	for _, round := range c.Rounds {
		values = append(values, round[figure])
	}
	return values
}

// formatFigure formats a number with three significant digits.
func formatFigure(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (r *Report) writeJSON(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644) //nolint:gosec // a public document
}

// insertInto replaces the part of a document between this table's markers by the
// report and its charts.
func (r *Report) insertInto(path string, charts []savedChart) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var part strings.Builder
	part.WriteString(r.markdown())
	for _, c := range charts {
		link, err := filepath.Rel(filepath.Dir(path), c.path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&part, "\n![%s](%s)\n", c.title, filepath.ToSlash(link))
	}
	text, err := replaceBetweenMarkers(string(data), r.Table+"-"+r.Backend, part.String())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a public document
}

var errNoMarkers = errors.New("the document lacks a marker of the table; add it on a line of its own")

// replaceBetweenMarkers replaces the part of a document between the markers of a name.
func replaceBetweenMarkers(document, name, text string) (string, error) {
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- /bench:"+name+" -->"
	head, rest, found := strings.Cut(document, begin)
	if !found {
		return "", fmt.Errorf("%w: %s", errNoMarkers, strings.TrimSpace(begin))
	}
	_, tail, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("%w: %s", errNoMarkers, end)
	}
	return head + begin + text + end + tail, nil
}
