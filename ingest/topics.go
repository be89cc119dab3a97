package ingest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// topicID identifies a topic among all that ever had its name. Its zero value is
// that of a topic whose brokers give none, as those before Kafka 2.8.
type topicID struct {
	Cluster string `json:"cluster,omitempty"`
	Topic   string `json:"topic,omitempty"`
}

func (t topicID) known() bool { return t.Topic != "" }

func (t topicID) String() string { return t.Cluster + "/" + t.Topic }

// differs is true only if both are known: a position is not distrusted for what
// nobody knows.
func (t topicID) differs(other topicID) bool {
	switch {
	case !t.known() || !other.known():
		return false
	case t.Cluster != "" && other.Cluster != "" && t.Cluster != other.Cluster:
		return true
	}
	return t.Topic != other.Topic
}

// stamp is the metadata of a committed offset.
type stamp struct {
	Version int `json:"v"`
	topicID
}

const (
	stampVersion = 1
	// longestStamp keeps a stamp far below offset.metadata.max.bytes (4,096 by
	// default). Both ids have 22 characters, so only a strange cluster id gets near.
	longestStamp = 256
)

// metadata is what a committed offset carries, nil for a topic without an id.
func (t topicID) metadata() *string {
	if !t.known() {
		return nil
	}
	text, err := json.Marshal(stamp{stampVersion, t})
	if err != nil {
		return nil
	}
	if len(text) > longestStamp {
		return topicID{Topic: t.Topic}.metadata()
	}
	metadata := string(text)
	return &metadata
}

// parseMetadata reads the metadata of a committed offset. That of another tool,
// as kafka-consumer-groups --reset-offsets leaves it, identifies no topic.
func parseMetadata(text *string) topicID {
	var s stamp
	if text == nil || json.Unmarshal([]byte(*text), &s) != nil || s.Version != stampVersion {
		return topicID{}
	}
	return s.topicID
}

// topicState is what the brokers say of a topic.
type topicState struct {
	id         topicID
	err        error   // kafka.Error: why it cannot be read
	unreadable bool    // it may be seen, and not read
	leaderless []int32 // partitions without a leader
}

func (t topicState) missing() bool {
	return code(t.err) == kafka.ErrUnknownTopicOrPart || code(t.err) == kafka.ErrUnknownTopic
}

func (t topicState) refused() bool {
	return t.unreadable || code(t.err) == kafka.ErrTopicAuthorizationFailed
}

// isPattern is true for a topic that librdkafka takes for a regular expression.
func isPattern(topic string) bool { return strings.HasPrefix(topic, "^") }

// topics returns the topics to ask about: those that were subscribed to by name, and
// those of the assigned partitions.
func (s *session) topics() []string {
	var names []string
	for _, name := range s.connection.Topics {
		if !isPattern(name) {
			names = append(names, name)
		}
	}
	for _, p := range s.all() {
		names = append(names, p.key.topic)
	}
	for key := range s.unplaced {
		names = append(names, key.topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

const topicCure = "create the topic or correct KAFKA_TOPIC"

// remindOfTopics names the topics that do not exist or may not be read, every 30
// s while that lasts. The others are consumed.
func (s *session) remindOfTopics(now time.Time) {
	s.missing.remind(s.missingTopics(), now, func(names []string, since time.Duration) {
		s.log.Warn("waiting for a topic", "missing", strings.Join(names, ","), "for", since, "cure", topicCure)
	}, func(since time.Duration) { s.log.Info("every topic is there", "after", since) })
	if s.everyTopicRefused(now) {
		return // which ends the session
	}
	s.refusedTopics.remind(s.unauthorized(now), now, func(names []string, since time.Duration) {
		s.log.Warn("a topic may not be read; its messages wait, and the other topics are consumed", "refused", strings.Join(names, ","), "for", since, "cure", s.topicRefusalCure())
	}, func(since time.Duration) { s.log.Info("every topic may be read", "after", since) })
}

func (s *session) missingTopics() []string {
	var names []string
	for name, state := range s.found.topics {
		if state.missing() {
			names = append(names, name)
		}
	}
	return names
}

// unauthorized returns the topics that this user may not read. The brokers name them
// when they are asked. If they name none, a refused fetch still gives an error, which
// has no name: then it is the only topic, or those whose messages wait.
func (s *session) unauthorized(now time.Time) []string {
	refused := make(map[string]bool)
	for name, state := range s.found.topics {
		if state.refused() {
			refused[name] = true
		}
	}
	if !s.fetchRefused.IsZero() && len(refused) == 0 {
		for _, name := range s.silent(now) {
			refused[name] = true
		}
	}
	return slices.Sorted(maps.Keys(refused))
}

// silent returns the topics that have given nothing since a fetch was refused.
func (s *session) silent(now time.Time) []string {
	parts := s.all()
	if names := s.topics(); len(names) == 1 {
		if slices.ContainsFunc(parts, func(p *partition) bool { return p.heard.After(s.fetchRefused) }) {
			return nil
		}
		return names
	}
	var names []string
	for _, p := range parts {
		if p.stalled(now) && p.heard.Before(s.fetchRefused) {
			names = append(names, p.key.topic)
		}
	}
	return names
}

// everyTopicRefused is true if there is no topic that this user may read.
func (s *session) everyTopicRefused(now time.Time) bool {
	refused := s.unauthorized(now)
	return len(refused) > 0 && !slices.ContainsFunc(s.topics(), func(name string) bool { return !slices.Contains(refused, name) })
}

// reminder reports names once when they come, every 30 s while they are there, and
// once when none is left.
type reminder struct {
	names  []string
	since  time.Time
	logged time.Time
}

func (r *reminder) remind(names []string, now time.Time, report func(names []string, since time.Duration), over func(since time.Duration)) {
	slices.Sort(names)
	switch {
	case len(names) == 0:
		if len(r.names) > 0 {
			over(now.Sub(r.since).Round(time.Second))
		}
		*r = reminder{}
		return
	case len(r.names) == 0:
		r.since = now
	case slices.Equal(names, r.names) && now.Sub(r.logged) < remindInterval:
		return
	}
	r.names, r.logged = names, now
	report(names, now.Sub(r.since).Round(time.Second))
}
