package ingest

import (
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// situation is all that decides where a newly assigned partition is read from.
type situation struct {
	committed  int64   // by the group; negative: nothing
	stamp      topicID // of the topic that the commit was made on
	remembered topicID // of the topic when this process read the partition last
	topic      topicID // of the topic now
	start, end int64   // of the partition
	latest     bool    // auto.offset.reset
}

// placement is where a partition is read from, and what that means.
type placement struct {
	from     int64
	skipped  int64 // messages that Kafka dropped between the committed offset and from
	replaced bool  // the topic is not the one that the group read
	beyond   bool  // the committed offset lies beyond the end of the partition
}

// place decides where a partition is read from. A position is trusted unless it is
// known to be wrong. Then the partition is read from its start, because Temporal
// drops duplicates, and a message that is jumped over is lost.
func place(s situation) placement {
	known := s.stamp
	if !known.known() {
		known = s.remembered
	}
	switch {
	case known.differs(s.topic):
		return placement{from: s.start, replaced: true}
	case s.committed < 0 && s.latest:
		return placement{from: s.end}
	case s.committed < 0:
		return placement{from: s.start}
	case s.committed > s.end:
		return placement{from: s.start, beyond: true}
	case s.committed < s.start:
		return placement{from: s.start, skipped: s.start - s.committed}
	}
	return placement{from: s.committed}
}

// placeAll places the partitions that a survey has learned enough of. The others
// wait for the next one.
func (s *session) placeAll(found *survey, now time.Time) {
	for _, u := range found.unplaced {
		if s.unplaced[u.key] != u { // revoked since
			continue
		}
		facts, err := found.situation(u.key)
		if err != nil {
			u.fault = err
			continue
		}
		facts.remembered = s.in.remembered[u.key]
		facts.latest = s.in.options.Reset == "latest"
		s.placeOne(u, facts, now)
	}
}

func (s *session) placeOne(u *unplaced, facts situation, now time.Time) {
	decided := place(facts)
	if err := s.seek(u.key, decided.from); err != nil {
		u.fault = err
		return
	}
	s.logPlacement(u.key, facts, decided)
	delete(s.unplaced, u.key)
	p := s.begin(u.key, decided.from, facts.topic, decided.from == facts.committed && facts.stamp == facts.topic)
	p.offsets.ends(facts.end, now)
	if facts.topic.known() {
		s.in.remembered[u.key] = facts.topic
	}
	s.in.metrics.skippedOf(u.key).Add(float64(decided.skipped))
	if s.paused {
		return
	}
	if err := s.consumer.Resume([]kafka.TopicPartition{u.key.at(0)}); err != nil {
		s.log.Error("a partition was not resumed", "partition", u.key.String(), "error", err)
	}
	s.wakeFetchers()
}

// seek sets the position of a partition. Nothing that was fetched before is
// delivered from then on.
func (s *session) seek(key partitionKey, offset int64) error {
	answers, err := s.consumer.SeekPartitions([]kafka.TopicPartition{key.at(kafka.Offset(offset))})
	if err != nil {
		return err
	}
	return answers[0].Error
}

func (s *session) logPlacement(key partitionKey, facts situation, decided placement) {
	log := s.log.With("topic", key.topic, "partition", key.partition, "from", decided.from)
	switch {
	case decided.replaced:
		log.Error("the topic is another one than the group read before: it was deleted and created again, or the cluster is another; its partition is read from the beginning",
			"committed", facts.committed, "id", facts.topic.String())
	case decided.beyond:
		log.Error("the group's committed offset lies beyond the end of the partition, so the messages there are others; the partition is read from the beginning",
			"committed", facts.committed, "end", facts.end)
	case decided.skipped > 0:
		log.Warn(droppedMessages, "skipped", decided.skipped, "committed", facts.committed, "cure", droppedCure)
	}
}

const (
	droppedMessages = "Kafka dropped messages before ingest read them; they are lost"
	droppedCure     = "raise the topic's retention.ms or retention.bytes, and see why the group was behind"
)

// follow compares the offset that Kafka gives next with the one that is expected,
// and returns the partition that it belongs to. It returns nil if Kafka gives what
// was not asked for, and will give the right messages next.
func (s *session) follow(p *partition, offset int64) *partition {
	switch {
	case offset < p.expected && s.seekAgain(p):
		return nil
	case offset > p.expected:
		s.reportGap(p, offset)
	case offset < p.expected:
		s.log.Error("Kafka no longer has what ingest read of a partition, because its log was cut off or the topic was created again; reading from its present messages",
			"topic", p.key.topic, "partition", p.key.partition, "expected", p.expected, "from", offset)
		p = s.begin(p.key, offset, p.topic, false)
		s.surveys.soon()
	}
	p.heard, p.behind = time.Now(), time.Time{}
	if s.heard.IsZero() {
		s.heard = p.heard
	}
	return p
}

// seekAgain sets the position of a partition once more if the first that Kafka gives
// of it lies below. librdkafka may have begun to reset the position that it was
// assigned with (0, which retention has passed) and end that after the seek, so that
// the partition would be read from its start: the messages would be delivered again
// whose runs Temporal no longer keeps. If Kafka no longer has the position, it gives
// the lower offset again.
func (s *session) seekAgain(p *partition) bool {
	if p.sought || !p.heard.IsZero() || s.seek(p.key, p.expected) != nil {
		return false
	}
	p.sought = true
	return true
}

// reportGap reports the messages that Kafka dropped between the expected offset and
// the one that it gave. Those at or above the partition's start were not dropped,
// because compaction and transactions leave gaps too. The start is that of the fetch
// which brought the offset, or of a later one.
func (s *session) reportGap(p *partition, offset int64) {
	start, _, err := s.consumer.GetWatermarkOffsets(p.key.topic, p.key.partition)
	if err != nil || start < 0 {
		start, _, err = s.consumer.QueryWatermarkOffsets(p.key.topic, p.key.partition, int(startTimeout/time.Millisecond))
	}
	log := s.log.With("topic", p.key.topic, "partition", p.key.partition, "expected", p.expected, "from", offset)
	if err != nil {
		log.Warn("Kafka jumped over offsets, and its brokers did not answer whether it dropped messages there", "error", err)
		return
	}
	if skipped := min(start, offset) - p.expected; skipped > 0 {
		s.in.metrics.skippedOf(p.key).Add(float64(skipped))
		log.Warn(droppedMessages, "skipped", skipped, "cure", droppedCure)
		s.surveys.soon()
	}
}

// startTimeout bounds the only question that a poll waits for. It is asked if no
// fetch has said where the partition starts.
const startTimeout = 2 * time.Second

// displace makes a partition unplaced again, because its topic was deleted and
// created again. The messages that were read of it are started all the same.
func (s *session) displace(p *partition, now time.Time) {
	part := []kafka.TopicPartition{p.key.at(0)}
	if err := s.consumer.Pause(part); err != nil {
		s.log.Error("a partition was not paused", "partition", p.key.String(), "error", err)
		return // found again by the next survey
	}
	s.mu.Lock()
	delete(s.assigned, p.key)
	s.mu.Unlock()
	s.replaced = append(s.replaced, p)
	s.unplaced[p.key] = &unplaced{key: p.key, since: now}
	s.surveys.soon()
}
