package ingest

import (
	"encoding/json"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// commitPeriodically commits every interval until stop is closed.
func (s *session) commitPeriodically(interval time.Duration, stop <-chan struct{}) {
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

// commitAssigned commits all assigned partitions. It looks them up only when it has the
// lock, because a partition that is revoked meanwhile belongs to its next owner.
func (s *session) commitAssigned() {
	s.commitLock.Lock()
	defer s.commitLock.Unlock()
	s.commit(s.partitions())
}

// commit commits the messages of the partitions that Temporal has accepted. It commits each
// topic by itself: librdkafka reports the error of one partition as that of all, and a topic
// that may no longer be read must not hold up the others. A commit that fails is repeated
// with the next one. The caller holds s.commitLock.
func (s *session) commit(parts []*partition) {
	partitions := make(map[string][]*partition)
	commits := make(map[string][]kafka.TopicPartition)
	for _, p := range parts {
		offset, ok := p.offsets.beginCommit()
		if !ok {
			continue
		}
		part := p.key.at(kafka.Offset(offset))
		if !s.metadataTooLarge {
			part.Metadata = commitMetadata(p.topicID)
		}
		partitions[p.key.topic] = append(partitions[p.key.topic], p)
		commits[p.key.topic] = append(commits[p.key.topic], part)
	}
	for topic, parts := range commits {
		if err := s.commitOffsets(parts); err != nil {
			s.reportCommitError(topic, err)
			for _, p := range partitions[topic] {
				p.offsets.commitFailed()
			}
		}
	}
}

func (s *session) commitOffsets(parts []kafka.TopicPartition) error {
	answers, err := s.consumer.CommitOffsets(parts)
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

// reportCommitError logs a commit that failed. If a broker allows less metadata with an
// offset than ours needs, the next commits have none.
func (s *session) reportCommitError(topic string, err error) {
	if errorCode(err) == kafka.ErrOffsetMetadataTooLarge && !s.metadataTooLarge {
		s.metadataTooLarge = true
		s.log.Warn("the brokers do not accept metadata with an offset; ingest will not notice if a topic is deleted and created again while ingest is down",
			"error", err, "cure", metadataCure)
		return
	}
	if times, due := s.logLimit.occurred("commit " + topic + err.Error()); due {
		s.log.Warn("offsets were not committed; trying again", "topic", topic, "error", err, "times", times, "cure", s.connection.cureOf(err))
	}
}

// offsetMetadata is the metadata of a committed offset: the ids of the cluster and the topic
// that the offset belongs to.
type offsetMetadata struct {
	Version int `json:"v"`
	topicID
}

const (
	metadataVersion = 1
	// maxMetadataLength is far below offset.metadata.max.bytes (4,096 by default). Both ids
	// have 22 characters, so that only an unusual cluster id comes near it.
	maxMetadataLength = 256
)

// commitMetadata returns the metadata of an offset of a topic, or nil if the topic has no id.
func commitMetadata(topic topicID) *string {
	if !topic.known() {
		return nil
	}
	text, err := json.Marshal(offsetMetadata{metadataVersion, topic})
	if err != nil {
		return nil
	}
	if len(text) > maxMetadataLength {
		return commitMetadata(topicID{Topic: topic.Topic})
	}
	metadata := string(text)
	return &metadata
}

// parseMetadata returns the topic that the metadata of a committed offset names. The
// metadata of another tool, such as kafka-consumer-groups --reset-offsets, names no topic.
func parseMetadata(text *string) topicID {
	var m offsetMetadata
	if text == nil || json.Unmarshal([]byte(*text), &m) != nil || m.Version != metadataVersion {
		return topicID{}
	}
	return m.topicID
}
