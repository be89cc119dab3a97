package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"genesys-fanout/replay"
)

const (
	redraw  = 200 * time.Millisecond // of the bar
	perLine = 5 * time.Second        // between two lines, where there is no terminal
)

// screen keeps lines and the progress bar on standard error apart.
type screen struct {
	console console

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil: none is drawn
}

func newScreen(c console) *screen { return &screen{console: c} }

// line prints one line above the bar.
func (s *screen) line(text string) { _, _ = s.Write([]byte(printable(text) + "\n")) }

// Write prints whole lines above the bar, those of a log.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		_ = s.bar.Clear()
	}
	n, err := s.console.err.Write(lines)
	if s.bar != nil {
		_ = s.bar.RenderBlank()
	}
	return n, err
}

// barWidth is how many columns the bar and its percentage take beside the words.
const barWidth = 20

// follow shows how far each target has come until it is stopped.
func (s *screen) follow(counts func() replay.ByTarget) (stop func()) {
	interval := perLine
	if s.console.draws {
		interval = redraw
		s.bar = progressbar.NewOptions(counts().Sum().Deliveries, progressbar.OptionSetWriter(s.console.err), progressbar.OptionSetWidth(10),
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
				s.draw(counts())
			case <-ended:
				s.finish(counts())
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-drawn
	}
}

func (s *screen) draw(t replay.ByTarget) {
	if s.bar == nil {
		s.line(progressOf(t, 0))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := t.Sum()
	s.bar.Describe(progressOf(t, s.console.columns-barWidth))
	_ = s.bar.Set(c.Deliveries - c.Left())
}

// finish leaves the bar as it was last, and the cursor below it.
func (s *screen) finish(t replay.ByTarget) {
	if s.bar == nil {
		return
	}
	s.draw(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar = nil
	_, _ = fmt.Fprintln(s.console.err)
}
