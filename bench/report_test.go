package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMedianAndPercentile(t *testing.T) {
	assert.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	assert.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
	assert.True(t, math.IsNaN(median(nil)))
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(i+1))
	}
	assert.InDelta(t, 50, percentile(hundred, 50), 0)
	assert.InDelta(t, 99, percentile(hundred, 99), 0)
	assert.InDelta(t, 7, percentile([]float64{7}, 99), 0)
}

// sampleReport returns a report of two cases with three rounds each.
func sampleReport() *Report {
	r := &Report{Table: "core", Backend: "dev", Rounds: 3, Versions: map[string]string{}}
	for i, v := range []float64{90, 80, 120} {
		r.add(benchCase{name: "ours"}, figures{rate: v, p99: 100 + v})
		r.add(benchCase{name: "ceiling"}, figures{rate: 100 + 100*float64(i)})
	}
	return r
}

func TestCompareCases_ComparesRoundByRound(t *testing.T) {
	r := sampleReport()
	r.compareCases([]ratio{
		{"paired", "ours", "ceiling", rate, 0.4, quotient, false},
		{"missed", "ours", "ceiling", rate, 0.9, quotient, false},
		{"bounded", "ours", "", p99, 150, itself, true},
		{"not measured", "ours", "plain", rate, 1, quotient, false},
	})
	require.Len(t, r.Ratios, 3)
	paired, missed, bounded := r.Ratios[0], r.Ratios[1], r.Ratios[2]
	assert.InDelta(t, 0.4, paired.Median, 1e-9, "of 0.9, 0.4 and 0.4")
	assert.InDelta(t, 0.9, paired.Max, 1e-9)
	assert.True(t, paired.Reached)
	assert.False(t, missed.Reached)
	assert.False(t, bounded.Reached, "190 is over 150")
	text := r.markdown()
	assert.Contains(t, text, "| missed | 0.40 | 0.40–0.90 | ≥ 0.90 | missed |")
	assert.Contains(t, text, "| bounded | 190 | 180–220 | ≤ 150 | missed |")
	assert.Contains(t, text, "events/s 90.0 (80.0–120)")
}

func TestTables_RatiosAndChartsNameKnownCases(t *testing.T) {
	for _, table := range []table{core(), growth(), recordsTable()} {
		names := map[string]bool{"": true}
		for _, c := range table.cases {
			assert.False(t, names[c.name], "two cases are named %s", c.name)
			names[c.name] = true
		}
		for _, q := range table.ratios {
			assert.True(t, names[q.of] && names[q.baseline], q.name)
		}
		for _, c := range chartsByTable[table.name] {
			for _, name := range append(c.cases, c.relative) {
				assert.True(t, names[name], "%s: %s", c.file, name)
			}
		}
		_, err := table.only("no such case")
		assert.ErrorContains(t, err, `has no case "no such case"; choose from: `+table.cases[0].name+", ")
	}
}

func TestInsertInto_ReplacesThePartBetweenTheMarkers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "performance.md")
	require.NoError(t, os.WriteFile(path, []byte("before\n<!-- bench:core-dev -->\nold\n<!-- /bench:core-dev -->\nafter\n"), 0o600))
	r := sampleReport()
	require.NoError(t, r.insertInto(path, []savedChart{{"Rates", filepath.Join(dir, "results", "rate.svg")}}))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "before\n<!-- bench:core-dev -->\n"+r.markdown()+"\n![Rates](results/rate.svg)\n<!-- /bench:core-dev -->\nafter\n", string(text))
	r.Table = "growth"
	assert.ErrorIs(t, r.insertInto(path, nil), errNoMarkers)
}

func TestDrawCharts_WritesSVG(t *testing.T) {
	dir := t.TempDir()
	charts, err := sampleReport().drawCharts(dir)
	require.NoError(t, err)
	require.NotEmpty(t, charts)
	svg, err := os.ReadFile(charts[0].path)
	require.NoError(t, err)
	assert.Contains(t, string(svg), "<svg")
}

func TestPadded_HasTheRequestedSize(t *testing.T) {
	assert.Len(t, padded([]byte(`{"a":1}`), kilobyte), kilobyte)
	assert.JSONEq(t, `{"a":1,"padding":"xx"}`, string(padded([]byte(`{"a":1}`), 22)))
	assert.Equal(t, `{"a":1}`, string(padded([]byte(`{"a":1}`), 5)))
}

// docs/performance.md must have the markers of every table. Otherwise a run would fail at
// its end, after everything was measured.
func TestPerformanceDocument_HasTheMarkersOfEveryTable(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "docs", "performance.md"))
	require.NoError(t, err)
	for _, table := range []table{core(), growth(), recordsTable()} {
		for _, backend := range []string{"dev", "postgres"} {
			_, err := replaceBetweenMarkers(string(document), table.name+"-"+backend, "")
			assert.NoError(t, err)
		}
	}
}
