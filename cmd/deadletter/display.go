package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"genesys-fanout/replay"
)

const (
	redrawInterval = 200 * time.Millisecond // of the progress bar
	lineInterval   = 5 * time.Second        // between two progress lines, if there is no terminal
)

// progressDisplay prints lines and a progress bar to standard error, so that neither damages the
// other.
type progressDisplay struct {
	console console

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil if no bar is drawn
}

func newDisplay(c console) *progressDisplay { return &progressDisplay{console: c} }

// printLine prints one line above the bar.
func (d *progressDisplay) printLine(text string) { _, _ = d.Write([]byte(printable(text) + "\n")) }

// Write prints whole lines above the bar. It makes progressDisplay the output of a log.
func (d *progressDisplay) Write(lines []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		_ = d.bar.Clear()
	}
	n, err := d.console.err.Write(lines)
	if d.bar != nil {
		_ = d.bar.RenderBlank()
	}
	return n, err
}

// barWidth is the number of columns of the bar and its percentage, without the text.
const barWidth = 20

// showProgress shows the progress of each target until stop is called.
func (d *progressDisplay) showProgress(counts func() replay.ByTarget) (stop func()) {
	interval := lineInterval
	if d.console.errTerminal {
		interval = redrawInterval
		d.bar = progressbar.NewOptions(counts().Sum().Deliveries, progressbar.OptionSetWriter(d.console.err), progressbar.OptionSetWidth(10),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	}
	ended, drawn := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drawn)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				d.draw(counts())
			case <-ended:
				d.finish(counts())
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-drawn
	}
}

func (d *progressDisplay) draw(t replay.ByTarget) {
	if d.bar == nil {
		d.printLine(progressText(t, 0))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := t.Sum()
	d.bar.Describe(progressText(t, d.console.errWidth-barWidth))
	_ = d.bar.Set(c.Deliveries - c.Left())
}

// finish draws the bar for the last time and moves the cursor below it.
func (d *progressDisplay) finish(t replay.ByTarget) {
	if d.bar == nil {
		return
	}
	d.draw(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bar = nil
	_, _ = fmt.Fprintln(d.console.err)
}
