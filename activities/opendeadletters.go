package activities

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
)

// openDeadLetters is the last count of the open records, as metrics. If a target and a reason
// have no open record any more, their metric becomes 0 instead of disappearing, so that an alert
// sees the end.
type openDeadLetters struct {
	mu     sync.Mutex
	counts map[countKey]int
	oldest map[string]time.Time // by target; zero if it has no open record
}

type countKey struct {
	target string
	reason event.Reason
}

// update replaces the last count.
func (o *openDeadLetters) update(counts []deadletter.Count) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts, o.oldest = make(map[countKey]int), make(map[string]time.Time)
	}
	for key := range o.counts {
		o.counts[key] = 0
	}
	for target := range o.oldest {
		o.oldest[target] = time.Time{}
	}
	for _, count := range counts {
		o.counts[countKey{count.Target, count.Reason}] = count.Records
		oldest := o.oldest[count.Target]
		if oldest.IsZero() || (!count.Oldest.IsZero() && count.Oldest.Before(oldest)) {
			o.oldest[count.Target] = count.Oldest
		}
	}
}

var (
	openDesc = prometheus.NewDesc("fanout_open_dead_letters",
		"Open records of the tracker by target and reason, counted every 30 s; damaged is a file that cannot be read as a record. Each worker of a tracker shows all.",
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
	for key, records := range o.counts {
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(records), key.target, string(key.reason))
	}
	for target, at := range o.oldest {
		age := 0.0
		if !at.IsZero() {
			age = max(0, time.Since(at).Seconds()) // the clock of another host may be ahead
		}
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age, target)
	}
}
