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

func newMetrics(registry prometheus.Registerer, in *Ingest) (*metrics, error) {
	m := &metrics{
		consumed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_events_consumed_total",
			Help: "Messages consumed, by format.",
		}, []string{"format"}),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_workflows_started_total",
			Help: "Messages that Temporal holds or no target wants, by what became of them.",
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
	flying := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanout_starts_in_flight",
		Help: "Starts that Temporal has not answered yet.",
	}, func() float64 { return float64(in.flight.count()) })
	for _, collector := range []prometheus.Collector{m.consumed, m.started, m.skipped, m.errors, flying, newLagCollector(in)} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of ingest: %w", err)
		}
	}
	return m, nil
}

// skippedOf counts what Kafka dropped of a partition.
func (m *metrics) skippedOf(key partitionKey) prometheus.Counter {
	return m.skipped.WithLabelValues(key.topic, strconv.Itoa(int(key.partition)))
}
