package ingest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

type partitionKey struct {
	topic     string
	partition int32
}

func keyOf(p kafka.TopicPartition) partitionKey {
	return partitionKey{topic: *p.Topic, partition: p.Partition}
}

func (k partitionKey) String() string { return fmt.Sprintf("%s[%d]", k.topic, k.partition) }

// at returns the partition with an offset in librdkafka's form.
func (k partitionKey) at(offset kafka.Offset) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: &k.topic, Partition: k.partition, Offset: offset}
}

// partition is an assigned partition whose position is known. If its messages turn out to
// be other ones, because the topic was created again or the log was cut off, another
// partition replaces it under the same key: the starts in flight of the old one must not
// move the commits of the new one.
type partition struct {
	key     partitionKey
	topicID topicID // when the partition was positioned; commits carry it
	offsets *offsets

	// Only the goroutine that polls uses the fields below.
	position       int64     // the offset after the last message that Kafka returned
	lastFetch      time.Time // when Kafka last returned a message or the end of the partition
	seekRepeated   bool      // the position was set a second time, because librdkafka had changed it
	behindSince    time.Time // since when Kafka has messages that it did not return; zero: it has none
	behindPosition int64     // the position at that time
}

// unpositioned is an assigned partition whose position is not known yet. It is paused.
type unpositioned struct {
	key   partitionKey
	since time.Time
	err   error // why the last survey could not position it
}

// rebalance acts on a rebalance of the consumer group. librdkafka calls it within a poll.
// Under a cooperative protocol, which KAFKA_OPTIONS may choose, it gets only the partitions
// that are added or removed.
func (s *session) rebalance(c *kafka.Consumer, e kafka.Event) error {
	cooperative := c.GetRebalanceProtocol() == "COOPERATIVE"
	switch e := e.(type) {
	case kafka.AssignedPartitions:
		s.log.Info("partitions assigned", "partitions", partitionNames(e.Partitions))
		return s.assign(c, e.Partitions, cooperative)
	case kafka.RevokedPartitions:
		s.log.Info("partitions revoked", "partitions", partitionNames(e.Partitions))
		s.revoke(c, e.Partitions)
		if cooperative {
			return c.IncrementalUnassign(e.Partitions)
		}
		return c.Unassign()
	}
	return nil
}

// assign assigns partitions to the consumer, paused. A survey first asks the brokers what
// decides the position of each, which may take longer than a poll may take.
func (s *session) assign(c *kafka.Consumer, parts []kafka.TopicPartition, cooperative bool) error {
	now := time.Now()
	paused := make([]kafka.TopicPartition, len(parts))
	for i, p := range parts {
		// The offset is replaced when the partition is positioned. It must be an absolute
		// one, because librdkafka would never start a partition whose committed offset it
		// could not read.
		paused[i] = keyOf(p).at(0)
		s.unpositioned[keyOf(p)] = &unpositioned{key: keyOf(p), since: now}
	}
	s.surveys.requestNow()
	var err error
	if cooperative {
		err = c.IncrementalAssign(paused)
	} else {
		err = c.Assign(paused)
	}
	if err != nil {
		return err
	}
	return c.Pause(paused)
}

// revoke removes partitions from the session. It waits up to revokeWait for their starts in
// flight, and then commits the messages that Temporal has accepted.
func (s *session) revoke(c *kafka.Consumer, parts []kafka.TopicPartition) {
	revoked := s.removePartitions(parts)
	// The next owner reads the waiting messages again. If this session got the partition
	// back, the waiting messages would come before older ones, and a commit would skip those.
	s.waiting = slices.DeleteFunc(s.waiting, func(m waitingMessage) bool { return slices.Contains(revoked, m.partition) })
	if c.AssignmentLost() { // other members have the partitions already
		return
	}
	waitIdle(revoked, revokeWait)
	s.commitLock.Lock()
	defer s.commitLock.Unlock()
	s.commit(revoked)
}

// removePartitions removes partitions from the assigned ones and returns those that were
// positioned. No periodic commit includes them from then on.
func (s *session) removePartitions(parts []kafka.TopicPartition) []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var removed []*partition
	for _, part := range parts {
		key := keyOf(part)
		if p := s.assigned[key]; p != nil {
			removed = append(removed, p)
		}
		delete(s.assigned, key)
		delete(s.unpositioned, key)
	}
	return removed
}

// waitIdle waits until no start of the partitions is in flight, up to a limit.
func waitIdle(parts []*partition, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, p := range parts {
		select {
		case <-p.offsets.idle():
		case <-timer.C:
			return
		}
	}
}

// addPartition adds a positioned partition. It replaces the one with the same key. committed
// means that the group has committed exactly this position, with the id of this topic.
func (s *session) addPartition(key partitionKey, position int64, topic topicID, committed bool) *partition {
	p := &partition{key: key, topicID: topic, offsets: newOffsets(position, committed), position: position}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.assigned[key]; old != nil {
		s.replaced = append(s.replaced, old)
	}
	s.assigned[key] = p
	return p
}

// invalidatePosition makes a partition unpositioned again, because its topic was deleted and
// created again. The messages that were read from the old topic are started all the same.
func (s *session) invalidatePosition(p *partition, now time.Time) {
	if err := s.consumer.Pause([]kafka.TopicPartition{p.key.at(0)}); err != nil {
		s.log.Error("a partition could not be paused; the next survey tries again", "partition", p.key.String(), "error", err)
		return
	}
	s.mu.Lock()
	delete(s.assigned, p.key)
	s.mu.Unlock()
	s.replaced = append(s.replaced, p)
	s.unpositioned[p.key] = &unpositioned{key: p.key, since: now}
	s.surveys.requestNow()
}

// partitions returns the assigned partitions that are positioned.
func (s *session) partitions() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := make([]*partition, 0, len(s.assigned))
	for _, p := range s.assigned {
		parts = append(parts, p)
	}
	return parts
}

// partitionOf returns the assigned partition that a message or an end belongs to. It returns
// nil if the partition is not assigned or not positioned.
func (s *session) partitionOf(p kafka.TopicPartition) *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.assigned[keyOf(p)]
}

func partitionNames(parts []kafka.TopicPartition) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = keyOf(p).String()
	}
	return strings.Join(names, " ")
}
