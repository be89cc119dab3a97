package ingest

import (
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// partitionFacts is everything that decides where a newly assigned partition is read from.
type partitionFacts struct {
	committed      int64   // the group's offset; negative: it has committed none
	committedTopic topicID // of the topic that the offset was committed for
	lastTopic      topicID // of the topic when this process last read the partition
	topic          topicID // of the topic now
	start, end     int64   // of the partition
	latest         bool    // KAFKA_AUTO_OFFSET_RESET
}

// positionChoice is where a partition is read from, and why not from the committed offset.
type positionChoice struct {
	offset    int64
	dropped   int64 // messages that Kafka dropped between the committed offset and this one
	replaced  bool  // the topic is not the one that the group has read
	beyondEnd bool  // the committed offset is beyond the end of the partition
}

// choosePosition decides where a partition is read from. The committed offset is used unless
// it is known to be wrong. If it is wrong, the partition is read from its start, because
// Temporal drops duplicates, but a message that is skipped is lost.
func choosePosition(f partitionFacts) positionChoice {
	readTopic := f.committedTopic
	if !readTopic.known() {
		readTopic = f.lastTopic
	}
	switch {
	case readTopic.differs(f.topic):
		return positionChoice{offset: f.start, replaced: true}
	case f.committed < 0 && f.latest:
		return positionChoice{offset: f.end}
	case f.committed < 0:
		return positionChoice{offset: f.start}
	case f.committed > f.end:
		return positionChoice{offset: f.start, beyondEnd: true}
	case f.committed < f.start:
		return positionChoice{offset: f.start, dropped: f.start - f.committed}
	}
	return positionChoice{offset: f.committed}
}

// positionPartitions positions the partitions that a survey knows enough about. The others
// wait for the next survey.
func (s *session) positionPartitions(found *survey, now time.Time) {
	for _, u := range found.unpositioned {
		if s.unpositioned[u.key] != u { // revoked since the survey began
			continue
		}
		facts, err := found.facts(u.key)
		if err != nil {
			u.err = err
			continue
		}
		facts.lastTopic = s.ingest.lastTopics[u.key]
		facts.latest = s.ingest.options.Reset == "latest"
		s.positionPartition(u, facts, now)
	}
}

func (s *session) positionPartition(u *unpositioned, facts partitionFacts, now time.Time) {
	choice := choosePosition(facts)
	if err := s.seek(u.key, choice.offset); err != nil {
		u.err = err
		return
	}
	s.logPosition(u.key, facts, choice)
	delete(s.unpositioned, u.key)
	p := s.addPartition(u.key, choice.offset, facts.topic, choice.offset == facts.committed && facts.committedTopic == facts.topic)
	p.offsets.recordEnd(facts.end, now)
	if facts.topic.known() {
		s.ingest.lastTopics[u.key] = facts.topic
	}
	s.ingest.metrics.skippedOf(u.key).Add(float64(choice.dropped))
	if s.paused {
		return
	}
	if err := s.consumer.Resume([]kafka.TopicPartition{u.key.at(0)}); err != nil {
		s.log.Error("a partition could not be resumed, so its messages wait", "partition", u.key.String(), "error", err)
	}
	s.wakeFetchers()
}

// seek sets the position of a partition. Messages that were fetched before are not delivered
// any more.
func (s *session) seek(key partitionKey, offset int64) error {
	answers, err := s.consumer.SeekPartitions([]kafka.TopicPartition{key.at(kafka.Offset(offset))})
	if err != nil {
		return err
	}
	return answers[0].Error
}

func (s *session) logPosition(key partitionKey, facts partitionFacts, choice positionChoice) {
	log := s.log.With("topic", key.topic, "partition", key.partition, "from", choice.offset)
	switch {
	case choice.replaced:
		log.Error("the topic is not the one that the group read before: it was deleted and created again, or this is another cluster; the partition is read from the beginning",
			"committed", facts.committed, "id", facts.topic.String())
	case choice.beyondEnd:
		log.Error("the group's committed offset is beyond the end of the partition, so the partition has other messages now; it is read from the beginning",
			"committed", facts.committed, "end", facts.end)
	case choice.dropped > 0:
		log.Warn(droppedMessages, "skipped", choice.dropped, "committed", facts.committed, "cure", DroppedCure)
	}
}

const droppedMessages = "Kafka dropped messages before ingest read them; they are lost"

// reconcilePosition compares the offset that Kafka returned next with the position of the
// partition. It returns the partition that the offset belongs to, which may be a new one. It
// returns nil if Kafka returned the wrong messages and will return the right ones next.
func (s *session) reconcilePosition(p *partition, offset int64) *partition {
	switch {
	case offset < p.position && s.repeatSeek(p):
		return nil
	case offset > p.position:
		s.reportGap(p, offset)
	case offset < p.position:
		s.log.Error("Kafka no longer has messages of a partition that ingest has read, because its log was cut off or the topic was created again; "+
			"ingest reads the messages that are there now",
			"topic", p.key.topic, "partition", p.key.partition, "expected", p.position, "from", offset)
		p = s.addPartition(p.key, offset, p.topicID, false)
		s.surveys.requestNow()
	}
	p.lastFetch, p.behindSince = time.Now(), time.Time{}
	if s.firstFetch.IsZero() {
		s.firstFetch = p.lastFetch
	}
	return p
}

// repeatSeek seeks once more if the first message of a partition is below its position. When
// the partition was positioned, librdkafka may still have been resetting the position 0 of the
// assignment, which retention has passed, and the end of that reset overwrites our seek. Without
// the second seek it would read the partition from its start, and messages would be delivered
// again whose runs Temporal no longer has. A second low offset is real: Kafka no longer has the
// position.
func (s *session) repeatSeek(p *partition) bool {
	if p.seekRepeated || !p.lastFetch.IsZero() || s.seek(p.key, p.position) != nil {
		return false
	}
	p.seekRepeated = true
	return true
}

// reportGap reports the messages that Kafka dropped between the position of the partition
// and the offset that it returned. Only offsets below the partition's start were dropped,
// because compaction and transactions leave gaps too. The start is that of the fetch which
// brought the offset, or of a later one.
func (s *session) reportGap(p *partition, offset int64) {
	start, _, err := s.consumer.GetWatermarkOffsets(p.key.topic, p.key.partition)
	if err != nil || start < 0 {
		start, _, err = s.consumer.QueryWatermarkOffsets(p.key.topic, p.key.partition, int(watermarkTimeout/time.Millisecond))
	}
	log := s.log.With("topic", p.key.topic, "partition", p.key.partition, "expected", p.position, "from", offset)
	if err != nil {
		log.Warn("offsets are missing in a partition, and the brokers did not answer whether Kafka dropped messages there", "error", err)
		return
	}
	if dropped := min(start, offset) - p.position; dropped > 0 {
		s.ingest.metrics.skippedOf(p.key).Add(float64(dropped))
		log.Warn(droppedMessages, "skipped", dropped, "cure", DroppedCure)
		s.surveys.requestNow()
	}
}

// startTimeout bounds the only request that a poll waits for. It is sent only if no fetch
// has reported where the partition starts.
const watermarkTimeout = 2 * time.Second
