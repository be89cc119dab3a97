package ingest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/internal/outage"
)

// topicID identifies a topic among all topics that ever had its name. Its zero value is that
// of a topic whose brokers report no id, as those before Kafka 2.8.
type topicID struct {
	Cluster string `json:"cluster,omitempty"`
	Topic   string `json:"topic,omitempty"`
}

func (t topicID) known() bool { return t.Topic != "" }

func (t topicID) String() string { return t.Cluster + "/" + t.Topic }

// differs reports whether two ids are known to be those of different topics. An unknown id
// differs from no other, because a position is used unless it is known to be wrong.
func (t topicID) differs(other topicID) bool {
	switch {
	case !t.known() || !other.known():
		return false
	case t.Cluster != "" && other.Cluster != "" && t.Cluster != other.Cluster:
		return true
	}
	return t.Topic != other.Topic
}

// topicState is what the brokers report about a topic.
type topicState struct {
	id             topicID
	err            error   // kafka.Error: why it cannot be read
	readNotAllowed bool    // the user may describe it, but not read it
	leaderless     []int32 // partitions without a leader
}

func (t topicState) missing() bool { return IsUnknownTopic(t.err) }

func (t topicState) unreadable() bool {
	return t.readNotAllowed || errorCode(t.err) == kafka.ErrTopicAuthorizationFailed
}

// IsPattern reports whether librdkafka reads the name of a topic as a regular expression.
func IsPattern(topic string) bool { return strings.HasPrefix(topic, "^") }

// topics returns the topics to ask the brokers about: those that were subscribed to by name,
// and those of the assigned partitions.
func (s *session) topics() []string {
	var names []string
	for _, name := range s.connection.Topics {
		if !IsPattern(name) {
			names = append(names, name)
		}
	}
	for _, p := range s.partitions() {
		names = append(names, p.key.topic)
	}
	for key := range s.unpositioned {
		names = append(names, key.topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *session) newMissingTopicsOutage() *outage.Outage {
	return outage.New(func(r outage.Report) {
		s.log.Warn("waiting for a topic", "missing", r.Cause, "for", r.Age, "cure", MissingTopicCure)
	}, func(r outage.Report) { s.log.Info("every topic is there", "after", r.Age) })
}

func (s *session) newUnreadableTopicsOutage() *outage.Outage {
	return outage.New(func(r outage.Report) {
		s.log.Warn("a topic may not be read; its messages wait, and the other topics are consumed",
			"refused", r.Cause, "for", r.Age, "cure", TopicAccessCure(s.connection))
	}, func(r outage.Report) { s.log.Info("every topic may be read", "after", r.Age) })
}

var (
	errMissingTopics    = errors.New("topics do not exist")
	errUnreadableTopics = errors.New("topics may not be read")
)

// reportTopics logs the topics that do not exist or may not be read, every 30 s while there
// are any. The other topics are consumed.
func (s *session) reportTopics(now time.Time) {
	observeNames(s.missing, s.missingTopics(), ",", errMissingTopics)
	if s.noTopicReadable(now) {
		return // checkTopics ends the session
	}
	observeNames(s.unreadable, s.unreadableTopics(now), ",", errUnreadableTopics)
}

// observeNames reports names as the cause of an outage. Without names the outage is over.
func observeNames(o *outage.Outage, names []string, separator string, err error) {
	if len(names) == 0 {
		err = nil
	}
	o.ObserveCause(strings.Join(names, separator), err)
}

// missingTopics returns the topics that do not exist, sorted.
func (s *session) missingTopics() []string {
	var names []string
	for name, state := range s.found.topics {
		if state.missing() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// unreadableTopics returns the topics that this user may not read, sorted. The brokers name
// them in a survey. The error of a denied fetch names no topic: if a fetch was denied and the
// survey names no topic, the denied topic is the only one subscribed, or each one that has
// stalled since.
func (s *session) unreadableTopics(now time.Time) []string {
	unreadable := make(map[string]bool)
	for name, state := range s.found.topics {
		if state.unreadable() {
			unreadable[name] = true
		}
	}
	if !s.fetchDeniedAt.IsZero() && len(unreadable) == 0 {
		for _, name := range s.silentTopics(now) {
			unreadable[name] = true
		}
	}
	return slices.Sorted(maps.Keys(unreadable))
}

// silentTopics returns the topics from which Kafka has returned nothing since a fetch was
// denied.
func (s *session) silentTopics(now time.Time) []string {
	parts := s.partitions()
	if names := s.topics(); len(names) == 1 {
		if slices.ContainsFunc(parts, func(p *partition) bool { return p.lastFetch.After(s.fetchDeniedAt) }) {
			return nil
		}
		return names
	}
	var names []string
	for _, p := range parts {
		if p.stalled(now) && p.lastFetch.Before(s.fetchDeniedAt) {
			names = append(names, p.key.topic)
		}
	}
	return names
}

// noTopicReadable reports whether there are topics and this user may read none of them.
func (s *session) noTopicReadable(now time.Time) bool {
	unreadable := s.unreadableTopics(now)
	return len(unreadable) > 0 && !slices.ContainsFunc(s.topics(), func(name string) bool { return !slices.Contains(unreadable, name) })
}

// checkTopics returns an error, which ends the session, if for rejectionPatience no topic has
// been readable.
func (s *session) checkTopics(now time.Time) error {
	if !s.noTopicReadable(now) {
		s.unreadableSince = time.Time{}
		return nil
	}
	if s.unreadableSince.IsZero() {
		s.unreadableSince = now
	}
	if now.Sub(s.unreadableSince) < rejectionPatience {
		return nil
	}
	if s.fetchErr == nil {
		s.fetchErr = kafka.NewError(kafka.ErrTopicAuthorizationFailed, "", false)
	}
	return s.credentialsError(s.fetchErr)
}
