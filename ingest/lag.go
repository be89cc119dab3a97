package ingest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stallPatience is how long a partition that has messages may give none until it
// counts as stalled. A fetch that is answered takes less than a second.
const stallPatience = 5 * time.Second

// note compares the end of the partition with the last message that Kafka gave.
func (p *partition) note(end int64, now time.Time) {
	switch {
	case end <= p.expected:
		p.behind = time.Time{}
	case p.behind.IsZero() || p.behindAt != p.expected:
		p.behind, p.behindAt = now, p.expected
	}
}

// stalled is true if the partition has messages and Kafka has not given them for a
// while.
func (p *partition) stalled(now time.Time) bool {
	return !p.behind.IsZero() && p.behindAt == p.expected && now.Sub(p.behind) >= stallPatience
}

// stalledByError returns the partitions that are stalled while librdkafka reports
// errors, which name no partition.
func (s *session) stalledByError(now time.Time) []*partition {
	if s.paused || s.fault == nil || now.Sub(s.faultAt) >= remindInterval {
		return nil
	}
	var stalled []*partition
	for _, p := range s.all() {
		if p.stalled(now) {
			stalled = append(stalled, p)
		}
	}
	slices.SortFunc(stalled, func(a, b *partition) int { return strings.Compare(a.key.String(), b.key.String()) })
	return stalled
}

const stallCure = "correct what the error names; if the message itself is damaged, stop ingest and move the group past it with kafka-consumer-groups --reset-offsets"

// remindOfStalls names the partitions whose messages wait because of an error,
// every 30 s while that lasts.
func (s *session) remindOfStalls(now time.Time) {
	reasons := make(map[string]error)
	for _, u := range s.unplaced {
		if u.fault != nil && now.Sub(u.since) >= stallPatience {
			reasons[u.key.String()] = u.fault
		}
	}
	for _, p := range s.stalledByError(now) {
		reasons[fmt.Sprintf("%s@%d", p.key, p.expected)] = s.fault
	}
	var names []string
	for name := range reasons {
		names = append(names, name)
	}
	s.stalls.remind(names, now, func(names []string, since time.Duration) {
		s.log.Warn("partitions are stalled by an error", "partitions", strings.Join(names, " "), "for", since,
			"error", reasons[names[0]], "cure", stallCure)
	}, func(since time.Duration) { s.log.Info("every partition is read", "after", since) })
}

// lagCollector gives the lag of the partitions that are assigned when it is asked.
type lagCollector struct {
	in       *Ingest
	messages *prometheus.Desc
	seconds  *prometheus.Desc
}

func newLagCollector(in *Ingest) *lagCollector {
	labels := []string{"topic", "partition"}
	return &lagCollector{
		in: in,
		messages: prometheus.NewDesc("fanout_consumer_lag",
			"Messages of an assigned partition that are not committed yet: its end minus what is or would be committed.", labels, nil),
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
	s := c.in.current.Load()
	if s == nil {
		return
	}
	now := time.Now()
	for _, p := range s.all() {
		messages, age := p.offsets.lag(now)
		partition := strconv.Itoa(int(p.key.partition))
		metrics <- prometheus.MustNewConstMetric(c.messages, prometheus.GaugeValue, float64(messages), p.key.topic, partition)
		metrics <- prometheus.MustNewConstMetric(c.seconds, prometheus.GaugeValue, age.Seconds(), p.key.topic, partition)
	}
}
