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

func newMetrics(registry prometheus.Registerer, admissions *admissions) *metrics {
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
		registry.MustRegister(m.deliveries, m.duration, m.deadLetters, blockedCollector{admissions})
	}
	return m
}

func (m *metrics) countOutcome(t *target.Target, lane Lane, outcome fanout.Verdict) {
	m.deliveries.WithLabelValues(t.Name(), string(lane), string(outcome)).Inc()
}

func (m *metrics) observeAttempt(t *target.Target, lane Lane, outcome fanout.Verdict, duration time.Duration) {
	m.countOutcome(t, lane, outcome)
	m.duration.WithLabelValues(t.Name()).Observe(duration.Seconds())
}

func (m *metrics) countDeadLetter(record deadletter.Record) {
	m.deadLetters.WithLabelValues(record.TargetName, string(record.Reason)).Inc()
}

// blockedCollector computes the metric fanout_target_held when it is scraped, because a gate opens
// when its time has come, without any call. In the name of the metric, "held" means that the target
// is blocked. It does not mean the verdict fanout.Held, which belongs to one delivery.
type blockedCollector struct{ admissions *admissions }

var blockedDesc = prometheus.NewDesc("fanout_target_held",
	"1 while a target's gate is closed or its breaker open in this process.", []string{"target"}, nil)

// Describe implements prometheus.Collector.
func (c blockedCollector) Describe(ch chan<- *prometheus.Desc) { ch <- blockedDesc }

// Collect implements prometheus.Collector.
func (c blockedCollector) Collect(ch chan<- prometheus.Metric) {
	c.admissions.each(func(target string, a *admission) {
		value := 0.0
		if a.blocked() {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(blockedDesc, prometheus.GaugeValue, value, target)
	})
}
