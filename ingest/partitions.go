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

// at is the partition as librdkafka takes it.
func (k partitionKey) at(offset kafka.Offset) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: &k.topic, Partition: k.partition, Offset: offset}
}

// partition is an assigned partition from the position on that it is read from.
// If its messages turn out to be others (the topic was created again, or the log was
// cut off), another partition replaces it under the same key, because starts in
// flight of the old one must not move the commits of the new one.
type partition struct {
	key     partitionKey
	topic   topicID // as it was when this partition was placed; commits carry it
	offsets *offsets

	// Used by the goroutine that polls alone.
	expected int64     // the offset after the last one that Kafka gave
	heard    time.Time // when Kafka gave a message or the partition's end last
	sought   bool      // its position was set once more, because librdkafka had changed it
	behind   time.Time // since when it has had more than Kafka gave; zero: it has not
	behindAt int64     // expected, at that time
}

// unplaced is an assigned partition whose position is not known yet. It is
// paused until then.
type unplaced struct {
	key   partitionKey
	since time.Time
	fault error // why it could not be placed
}

// rebalance runs within a poll. Under a cooperative protocol, which KAFKA_OPTIONS
// may choose, librdkafka calls it with the partitions that come or go alone.
func (s *session) rebalance(c *kafka.Consumer, e kafka.Event) error {
	cooperative := c.GetRebalanceProtocol() == "COOPERATIVE"
	switch e := e.(type) {
	case kafka.AssignedPartitions:
		s.log.Info("partitions assigned", "partitions", describe(e.Partitions))
		return s.assign(c, e.Partitions, cooperative)
	case kafka.RevokedPartitions:
		s.log.Info("partitions revoked", "partitions", describe(e.Partitions))
		s.revoke(c, e.Partitions)
		if cooperative {
			return c.IncrementalUnassign(e.Partitions)
		}
		return c.Unassign()
	}
	return nil
}

// assign takes partitions over, paused: a survey asks the brokers first where
// each is to be read from, which may take longer than a poll may.
func (s *session) assign(c *kafka.Consumer, parts []kafka.TopicPartition, cooperative bool) error {
	now := time.Now()
	begin := make([]kafka.TopicPartition, len(parts))
	for i, p := range parts {
		// An absolute offset, which place replaces, because librdkafka would
		// never start a partition whose committed offset it could not read.
		begin[i] = keyOf(p).at(0)
		s.unplaced[keyOf(p)] = &unplaced{key: keyOf(p), since: now}
	}
	s.surveys.soon()
	var err error
	if cooperative {
		err = c.IncrementalAssign(begin)
	} else {
		err = c.Assign(begin)
	}
	if err != nil {
		return err
	}
	return c.Pause(begin)
}

// revoke gives partitions up: first their starts in flight get a while, then
// what Temporal holds of them is committed.
func (s *session) revoke(c *kafka.Consumer, parts []kafka.TopicPartition) {
	leaving := s.release(parts)
	// The next owner reads these messages again. If this session got the partition
	// back, they would come before older ones, and a commit would skip those.
	s.waiting = slices.DeleteFunc(s.waiting, func(a arrival) bool { return slices.Contains(leaving, a.partition) })
	if c.AssignmentLost() { // others have them already
		return
	}
	awaitSettled(leaving, revokeWait)
	s.commits.Lock()
	defer s.commits.Unlock()
	s.commit(leaving)
}

// release removes partitions from the assigned ones: no periodic commit touches
// them from here on.
func (s *session) release(parts []kafka.TopicPartition) []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var leaving []*partition
	for _, part := range parts {
		key := keyOf(part)
		if p := s.assigned[key]; p != nil {
			leaving = append(leaving, p)
		}
		delete(s.assigned, key)
		delete(s.unplaced, key)
	}
	return leaving
}

func awaitSettled(parts []*partition, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, p := range parts {
		select {
		case <-p.offsets.settled():
		case <-timer.C:
			return
		}
	}
}

// begin reads a partition from an offset on. It replaces the one that has its key.
func (s *session) begin(key partitionKey, from int64, topic topicID, committed bool) *partition {
	p := &partition{key: key, topic: topic, offsets: newOffsets(from, committed), expected: from}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.assigned[key]; old != nil {
		s.replaced = append(s.replaced, old)
	}
	s.assigned[key] = p
	return p
}

// all returns the partitions that are placed now.
func (s *session) all() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*partition, 0, len(s.assigned))
	for _, p := range s.assigned {
		all = append(all, p)
	}
	return all
}

func (s *session) commitEvery(interval time.Duration, stop <-chan struct{}) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.commitAssigned()
		}
	}
}

// commitAssigned looks up what is assigned only when no other commit is on its
// way: a partition given up meanwhile is its next owner's to commit.
func (s *session) commitAssigned() {
	s.commits.Lock()
	defer s.commits.Unlock()
	s.commit(s.all())
}

// commit commits what Temporal holds of the partitions, each topic by itself:
// librdkafka reports the error of one partition as that of all, and a topic that
// may no longer be read must not hold up the others. What fails is tried again with
// the next commit. The caller holds s.commits.
func (s *session) commit(parts []*partition) {
	taken := make(map[string][]*partition)
	lists := make(map[string][]kafka.TopicPartition)
	for _, p := range parts {
		next, ok := p.offsets.take()
		if !ok {
			continue
		}
		part := p.key.at(kafka.Offset(next))
		if !s.unstamped {
			part.Metadata = p.topic.metadata()
		}
		taken[p.key.topic] = append(taken[p.key.topic], p)
		lists[p.key.topic] = append(lists[p.key.topic], part)
	}
	for topic, list := range lists {
		if err := s.commitList(list); err != nil {
			s.commitFailed(topic, err)
			for _, p := range taken[topic] {
				p.offsets.giveBack()
			}
		}
	}
}

func (s *session) commitList(list []kafka.TopicPartition) error {
	answers, err := s.consumer.CommitOffsets(list)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if answer.Error != nil {
			return answer.Error
		}
	}
	return nil
}

// commitFailed reports a commit that failed. A broker may allow less metadata
// with an offset than ours takes; then a commit without it is better than none.
func (s *session) commitFailed(topic string, err error) {
	if code(err) == kafka.ErrOffsetMetadataTooLarge && !s.unstamped {
		s.unstamped = true
		s.log.Warn("the brokers take no metadata with an offset; a topic that is deleted and created again while ingest is down will not be noticed",
			"error", err, "cure", "raise the brokers' offset.metadata.max.bytes to 256 or more")
		return
	}
	if times, due := s.lines.happened("commit " + topic + err.Error()); due {
		s.log.Warn("offsets were not committed; trying again", "topic", topic, "error", err, "times", times)
	}
}

func describe(parts []kafka.TopicPartition) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = keyOf(p).String()
	}
	return strings.Join(names, " ")
}
