package ingest

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	consumed *prometheus.CounterVec
	started  *prometheus.CounterVec
	skipped  *prometheus.CounterVec
	errors   *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer, i *Ingest) (*metrics, error) {
	m := &metrics{
		consumed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_events_consumed_total",
			Help: "Messages consumed, by format.",
		}, []string{"format"}),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_workflows_started_total",
			Help: "Messages that Temporal has accepted or that no target wants, by result.",
		}, []string{"result"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_messages_skipped_total",
			Help: "Messages that Kafka dropped before ingest read them.",
		}, []string{"topic", "partition"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_kafka_errors_total",
			Help: "Errors that the Kafka client reported, by code.",
		}, []string{"code"}),
	}
	if registry == nil {
		return m, nil
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanout_starts_in_flight",
		Help: "Starts that Temporal has not answered yet.",
	}, func() float64 { return float64(i.limiter.startsInFlight()) })
	for _, collector := range []prometheus.Collector{m.consumed, m.started, m.skipped, m.errors, inFlight, newLagCollector(i)} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of ingest: %w", err)
		}
	}
	return m, nil
}

// skippedOf returns the counter of the messages of a partition that Kafka dropped.
func (m *metrics) skippedOf(key partitionKey) prometheus.Counter {
	return m.skipped.WithLabelValues(key.topic, strconv.Itoa(int(key.partition)))
}
