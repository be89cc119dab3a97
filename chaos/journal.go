package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"genesys-fanout/chaos/audit"
)

// journal records what was done to the parts, and when. It prints each entry.
type journal struct {
	out   io.Writer
	began time.Time

	mu           sync.Mutex
	disturbances []audit.Disturbance
	faults       []string // the names of the faults that were injected, in their order
}

func newJournal(out io.Writer) *journal { return &journal{out: out, began: time.Now()} }

// note prints a line with the time since the begin of the run.
func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = fmt.Fprintf(j.out, "%7.1f s  %s\n", time.Since(j.began).Seconds(), fmt.Sprintf(format, args...))
}

// injected records that a fault was injected.
func (j *journal) injected(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = append(j.faults, name)
}

// disturbed records a disturbance of a moment.
func (j *journal) disturbed(d audit.Disturbance) {
	now := time.Now()
	d.From, d.To = now, now
	j.add(d)
}

// begin records a disturbance that lasts until end is called.
func (j *journal) begin(d audit.Disturbance) (end func()) {
	d.From = time.Now()
	return func() {
		d.To = time.Now()
		j.add(d)
	}
}

func (j *journal) add(d audit.Disturbance) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.disturbances = append(j.disturbances, d)
}
