package ingest

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lagCollector is a prometheus.Collector of the lag of the assigned partitions.
type lagCollector struct {
	ingest   *Ingest
	messages *prometheus.Desc
	seconds  *prometheus.Desc
}

func newLagCollector(ingest *Ingest) *lagCollector {
	labels := []string{"topic", "partition"}
	return &lagCollector{
		ingest: ingest,
		messages: prometheus.NewDesc("fanout_consumer_lag",
			"Messages of an assigned partition that are not committed yet: its end minus the offset that is or would be committed.", labels, nil),
		seconds: prometheus.NewDesc("fanout_consumer_lag_seconds",
			"Age of the oldest message of an assigned partition that is not committed yet; 0 if there is none.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *lagCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.messages
	descs <- c.seconds
}

// Collect implements prometheus.Collector.
func (c *lagCollector) Collect(metrics chan<- prometheus.Metric) {
	s := c.ingest.current.Load()
	if s == nil {
		return
	}
	now := time.Now()
	for _, p := range s.partitions() {
		messages, age := p.offsets.lag(now)
		partition := strconv.Itoa(int(p.key.partition))
		metrics <- prometheus.MustNewConstMetric(c.messages, prometheus.GaugeValue, float64(messages), p.key.topic, partition)
		metrics <- prometheus.MustNewConstMetric(c.seconds, prometheus.GaugeValue, age.Seconds(), p.key.topic, partition)
	}
}
