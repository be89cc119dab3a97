package activities

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

type metrics struct {
	deliveries  *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	deadLetters *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer, holds *holds) *metrics {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_deliveries_total",
			Help: "Attempts by target, lane and outcome; held ones sent nothing, or only a probe.",
		}, []string{"target", "lane", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fanout_delivery_duration_seconds",
			Help:    "Time from a request's start to its answer, by target.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), // 1 ms to 33 s
		}, []string{"target"}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_dead_letters_total",
			Help: "Deliveries given up and recorded, by target and reason.",
		}, []string{"target", "reason"}),
	}
	if registry != nil {
		registry.MustRegister(m.deliveries, m.duration, m.deadLetters, heldCollector{holds})
	}
	return m
}

func (m *metrics) delivery(t *target.Target, lane Lane, outcome fanout.Verdict) {
	m.deliveries.WithLabelValues(t.Name(), string(lane), string(outcome)).Inc()
}

func (m *metrics) attempt(t *target.Target, lane Lane, outcome fanout.Verdict, took time.Duration) {
	m.delivery(t, lane, outcome)
	m.duration.WithLabelValues(t.Name()).Observe(took.Seconds())
}

func (m *metrics) deadLetter(record deadletter.Record) {
	m.deadLetters.WithLabelValues(record.TargetName, string(record.Reason)).Inc()
}

// heldCollector reads fanout_target_held when it is asked for, since a gate
// opens by the clock alone.
type heldCollector struct{ holds *holds }

var heldDesc = prometheus.NewDesc("fanout_target_held",
	"1 while a target's gate is closed or its breaker open in this process.", []string{"target"}, nil)

// Describe implements prometheus.Collector.
func (c heldCollector) Describe(ch chan<- *prometheus.Desc) { ch <- heldDesc }

// Collect implements prometheus.Collector.
func (c heldCollector) Collect(ch chan<- prometheus.Metric) {
	c.holds.each(func(name string, h *hold) {
		value := 0.0
		if h.held() {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, value, name)
	})
}
