package ingest

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	consumed *prometheus.CounterVec
	started  *prometheus.CounterVec
	lag      *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer, inFlight func() float64) (*metrics, error) {
	m := &metrics{
		consumed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_events_consumed_total",
			Help: "Messages consumed, by format.",
		}, []string{"format"}),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_workflows_started_total",
			Help: "Messages that Temporal holds or no target wants, by what became of them.",
		}, []string{"result"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fanout_consumer_lag",
			Help: "Messages of an assigned partition that are not committed yet.",
		}, []string{"topic", "partition"}),
	}
	if registry == nil {
		return m, nil
	}
	flying := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanout_starts_in_flight",
		Help: "Starts that Temporal has not answered yet.",
	}, inFlight)
	for _, collector := range []prometheus.Collector{m.consumed, m.started, m.lag, flying} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of ingest: %w", err)
		}
	}
	return m, nil
}
