package main

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// chart is a bar chart of the median rates of some cases.
type chart struct {
	file     string
	title    string
	label    string
	cases    []string
	relative string // the case whose rate is 1; empty if the bars are the rates themselves
}

var chartsByTable = map[string][]chart{
	"core": {
		{"rate.svg", "Events per second, three healthy targets", "events/s", []string{"plain", "not eager", "ours", "ceiling"}, ""},
		{
			"isolation.svg", "What two healthy targets keep while the third is away", "share of the rate with all up",
			[]string{"ours", "one 429", "one refusing", "one 503", "one hanging"},
			"ours",
		},
	},
	"growth": {{"growth.svg", "Events per second as the work grows", "events/s", []string{"1 target", "3 targets", "10 targets", "10 KB", "100 KB", "2 ingests"}, ""}},
}

// savedChart is a chart that was written to a file.
type savedChart struct{ title, path string }

// drawCharts draws the charts of this report's table into a directory. It leaves out
// charts of which no case was measured.
func (r *Report) drawCharts(dir string) (saved []savedChart, err error) {
	for _, c := range chartsByTable[r.Table] {
		path := filepath.Join(dir, c.file)
		drawn, err := r.draw(c, path)
		if err != nil {
			return nil, err
		}
		if drawn {
			saved = append(saved, savedChart{c.title, path})
		}
	}
	return saved, nil
}

// draw writes a chart to a file. It returns false, and writes nothing, if none of the
// cases was measured.
func (r *Report) draw(c chart, path string) (bool, error) {
	var values plotter.Values
	var names []string
	one := 1.0
	if c.relative != "" {
		one = r.medianRate(c.relative)
	}
	for _, name := range c.cases {
		if len(r.rounds(name)) > 0 {
			values, names = append(values, r.medianRate(name)/one), append(names, name)
		}
	}
	if len(values) == 0 {
		return false, nil
	}
	const width = 40
	bars, err := plotter.NewBarChart(values, vg.Points(width))
	if err != nil {
		return false, err
	}
	bars.Color = color.RGBA{R: 0x3b, G: 0x6e, B: 0xa8, A: 0xff}
	bars.LineStyle.Width = 0
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = c.title, c.label
	p.Y.Min = 0
	p.Add(plotter.NewGrid(), bars)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4 // room for half a bar and its name
	return true, p.Save(vg.Length(len(names))*1.4*vg.Inch+vg.Inch, 4*vg.Inch, path)
}

func (r *Report) medianRate(name string) float64 {
	return median(CaseResult{Rounds: r.rounds(name)}.values(rate))
}
