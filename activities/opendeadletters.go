package activities

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
)

// openDeadLetters shows the last count of the open records. A target and a reason
// that have none any more show 0, so that an alert sees them end.
type openDeadLetters struct {
	mu     sync.Mutex
	counts map[openKind]int
	oldest map[string]time.Time // by target; zero if none is open
}

type openKind struct {
	target string
	reason event.Reason
}

func (o *openDeadLetters) set(counts []deadletter.Count) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts, o.oldest = make(map[openKind]int), make(map[string]time.Time)
	}
	for kind := range o.counts {
		o.counts[kind] = 0
	}
	for target := range o.oldest {
		o.oldest[target] = time.Time{}
	}
	for _, one := range counts {
		o.counts[openKind{one.Target, one.Reason}] = one.Records
		before := o.oldest[one.Target]
		if before.IsZero() || (!one.Oldest.IsZero() && one.Oldest.Before(before)) {
			o.oldest[one.Target] = one.Oldest
		}
	}
}

var (
	openDesc = prometheus.NewDesc("fanout_open_dead_letters",
		"Open records of the tracker by target and reason, counted every 30 s; damaged is a file that holds no record. Each worker of a tracker shows all.",
		[]string{"target", "reason"}, nil)
	oldestDesc = prometheus.NewDesc("fanout_oldest_dead_letter_seconds",
		"Age of the oldest open record by target, from when its delivery was given up; 0 if none is open.", []string{"target"}, nil)
)

// Describe implements prometheus.Collector.
func (o *openDeadLetters) Describe(ch chan<- *prometheus.Desc) {
	ch <- openDesc
	ch <- oldestDesc
}

// Collect implements prometheus.Collector.
func (o *openDeadLetters) Collect(ch chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for kind, records := range o.counts {
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(records), kind.target, string(kind.reason))
	}
	for target, at := range o.oldest {
		age := 0.0
		if !at.IsZero() {
			age = max(0, time.Since(at).Seconds()) // the clock of another host may be ahead
		}
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age, target)
	}
}
