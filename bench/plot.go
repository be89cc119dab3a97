package main

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// figure is one plot: a bar per case, at its median.
type figure struct {
	file  string
	title string
	label string
	cases []string
	to    string // a case whose rate is 1; empty: the rates themselves
}

var figuresOf = map[string][]figure{
	"core": {
		{"rate.svg", "Events per second, three healthy targets", "events/s", []string{"plain", "not eager", "ours", "ceiling"}, ""},
		{"isolation.svg", "What two healthy targets keep while the third is away", "share of the rate with all up",
			[]string{"ours", "one 429", "one refusing", "one 503", "one hanging"}, "ours"},
	},
	"growth": {{"growth.svg", "Events per second as the work grows", "events/s", []string{"1 target", "3 targets", "10 targets", "10 KB", "100 KB", "2 ingests"}, ""}},
}

// drawing is a plot that was saved.
type drawing struct{ title, path string }

// plot draws what this table has plots for and what was measured.
func (r *Report) plot(dir string) (plots []drawing, err error) {
	for _, f := range figuresOf[r.Table] {
		path := filepath.Join(dir, f.file)
		drawn, err := r.draw(f, path)
		if err != nil {
			return nil, err
		}
		if drawn {
			plots = append(plots, drawing{f.title, path})
		}
	}
	return plots, nil
}

// draw reports false where none of the cases was measured.
func (r *Report) draw(f figure, path string) (bool, error) {
	var values plotter.Values
	var names []string
	one := 1.0
	if f.to != "" {
		one = r.medianRate(f.to)
	}
	for _, name := range f.cases {
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
	p.Title.Text, p.Y.Label.Text = f.title, f.label
	p.Y.Min = 0
	p.Add(plotter.NewGrid(), bars)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4 // room for half a bar and its name
	return true, p.Save(vg.Length(len(names))*1.4*vg.Inch+vg.Inch, 4*vg.Inch, path)
}

func (r *Report) medianRate(name string) float64 {
	return median(CaseResult{Rounds: r.rounds(name)}.values(rate))
}
