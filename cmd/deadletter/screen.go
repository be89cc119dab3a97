package main

import (
	"fmt"
	"strings"
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

// follow shows the counts until it is stopped.
func (s *screen) follow(counts func() replay.Counts) (stop func()) {
	interval := perLine
	if s.console.draws {
		interval = redraw
		s.bar = progressbar.NewOptions(counts().Deliveries, progressbar.OptionSetWriter(s.console.err), progressbar.OptionSetWidth(10),
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

func (s *screen) draw(c replay.Counts) {
	if s.bar == nil {
		s.line(progress(c))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar.Describe(progress(c))
	_ = s.bar.Set(c.Deliveries - c.Left())
}

// finish leaves the bar as it was last, and the cursor below it.
func (s *screen) finish(c replay.Counts) {
	if s.bar == nil {
		return
	}
	s.draw(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar = nil
	_, _ = fmt.Fprintln(s.console.err)
}

// progress is how far it came, in words.
func progress(c replay.Counts) string {
	return strings.Join([]string{
		fmt.Sprintf("sent %d", c.Sent), fmt.Sprintf("delivered %d", c.Delivered), fmt.Sprintf("failed again %d", c.FailedAgain),
		fmt.Sprintf("skipped %d", c.Skipped), fmt.Sprintf("left %d", c.Left()),
	}, ", ")
}
