package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	// surveyEvery keeps fanout_consumer_lag at most 10 s old.
	surveyEvery = 5 * time.Second
	// surveyRetry is the wait before the brokers are asked again for what they did
	// not answer.
	surveyRetry = time.Second
	// surveyTimeout bounds one survey.
	surveyTimeout = 5 * time.Second
)

// survey is what the brokers say of the topics and partitions of a session. It is
// asked on a goroutine of its own, because a poll must not wait for an answer; the
// goroutine that polls decides what follows from it.
type survey struct {
	unplaced   []*unplaced
	partitions []partitionKey // all that are assigned

	topics  map[string]topicState
	ends    map[partitionKey]int64
	starts  map[partitionKey]int64 // of the unplaced
	commits map[partitionKey]commit
	faults  map[partitionKey]error // of partitions that the brokers could not say everything of
	err     error                  // nothing at all was answered
}

// commit is an offset that the group has committed.
type commit struct {
	offset int64
	stamp  topicID
}

// situation is what was learned of an unplaced partition; the error says what was
// not.
func (f *survey) situation(key partitionKey) (situation, error) {
	if f.err != nil {
		return situation{}, f.err
	}
	if err := f.faults[key]; err != nil {
		return situation{}, err
	}
	start, known := f.starts[key]
	end, ended := f.ends[key]
	if !known || !ended {
		return situation{}, errors.New("the brokers did not say where the partition begins and ends")
	}
	s := situation{committed: -1, topic: f.topics[key.topic].id, start: start, end: end}
	if c, ok := f.commits[key]; ok {
		s.committed, s.stamp = c.offset, c.stamp
	}
	return s, nil
}

// surveys runs one survey after the other.
type surveys struct {
	ask func(context.Context, *survey, []string)

	next    time.Time // of the next survey; zero: now
	answers chan *survey
	asking  bool
	running sync.WaitGroup
}

func newSurveys(ask func(context.Context, *survey, []string)) *surveys {
	return &surveys{ask: ask, answers: make(chan *survey, 1)}
}

// soon lets the next survey begin at once.
func (v *surveys) soon() { v.by(time.Time{}) }

// by lets the next survey begin at a time, if it would begin later.
func (v *surveys) by(at time.Time) {
	if v.next.After(at) {
		v.next = at
	}
}

// answered returns a survey that has ended since the last call, nil if none has.
func (v *surveys) answered() *survey {
	select {
	case found := <-v.answers:
		v.asking = false
		return found
	default:
		return nil
	}
}

// due is true if a survey should begin.
func (v *surveys) due(now time.Time) bool { return !v.asking && !now.Before(v.next) }

// start begins a survey; it waits for nothing.
func (v *surveys) start(ctx context.Context, now time.Time, asked *survey, topics []string) {
	v.asking, v.next = true, now.Add(surveyEvery)
	v.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
		defer cancel()
		v.ask(ctx, asked, topics)
		v.answers <- asked
	})
}

// survey begins a survey when one is due, and acts on one that has been answered.
func (s *session) survey(ctx context.Context, now time.Time) {
	if found := s.surveys.answered(); found != nil {
		s.learn(found, now)
	}
	if !s.surveys.due(now) {
		return
	}
	asked := &survey{}
	for _, p := range s.all() {
		asked.partitions = append(asked.partitions, p.key)
	}
	for key, u := range s.unplaced {
		asked.unplaced = append(asked.unplaced, u)
		asked.partitions = append(asked.partitions, key)
	}
	s.surveys.start(ctx, now, asked, s.topics())
}

// learn acts on a survey.
func (s *session) learn(found *survey, now time.Time) {
	s.placeAll(found, now)
	if len(s.unplaced) > 0 {
		s.surveys.by(now.Add(surveyRetry))
	}
	s.remindOfStalls(now)
	if found.err != nil {
		return // brokers that do not answer are reported elsewhere
	}
	s.found = found
	for _, p := range s.all() {
		if state, ok := found.topics[p.key.topic]; ok && p.topic.differs(state.id) {
			s.displace(p, now)
			continue
		}
		if end, ok := found.ends[p.key]; ok {
			p.offsets.ends(end, now)
			if !s.paused {
				p.note(end, now)
			}
		}
	}
	s.remindOfTopics(now)
}

// askBrokers fills a survey.
func (s *session) askBrokers(ctx context.Context, f *survey, topics []string) {
	f.faults = make(map[partitionKey]error)
	if f.topics, f.err = describeTopics(ctx, s.admin, s.clusterID(ctx), topics); f.err != nil {
		return
	}
	asked := make([]partitionKey, 0, len(f.partitions))
	for _, key := range f.partitions {
		state := f.topics[key.topic]
		switch {
		case state.err != nil:
			f.faults[key] = state.err
		case slices.Contains(state.leaderless, key.partition):
			f.faults[key] = errLeaderless
		default:
			asked = append(asked, key)
		}
	}
	f.ends = listOffsets(ctx, s.admin, asked, kafka.LatestOffsetSpec, f.faults)
	var begin []partitionKey
	for _, u := range f.unplaced {
		if f.faults[u.key] == nil {
			begin = append(begin, u.key)
		}
	}
	f.starts = listOffsets(ctx, s.admin, begin, kafka.EarliestOffsetSpec, f.faults)
	f.commits = listCommits(ctx, s.admin, s.in.options.GroupID, begin, f.faults)
}

var errLeaderless = errors.New("the partition has no leader; see that all brokers run")

// clusterIDTimeout bounds the question for the cluster's id. librdkafka has the id from
// the metadata by which it found the topics, but waits for the whole of this time if the
// brokers give none.
const clusterIDTimeout = 200 * time.Millisecond

// clusterID returns the id of the cluster, and keeps it once it is known. It is empty if
// the brokers give none, as some do that are compatible with Kafka; then the ids of the
// topics must do. It does not describe the cluster, because librdkafka ends the process
// with a segmentation fault if such an answer has no id.
func (s *session) clusterID(ctx context.Context) string {
	if known := s.cluster.Load(); known != nil {
		return *known
	}
	ctx, cancel := context.WithTimeout(ctx, clusterIDTimeout)
	defer cancel()
	id, err := s.admin.ClusterID(ctx)
	if err != nil || id == "" {
		return ""
	}
	s.cluster.Store(&id)
	return id
}

// describeTopics asks what the brokers know of topics.
func describeTopics(ctx context.Context, admin *kafka.AdminClient, cluster string, names []string) (map[string]topicState, error) {
	topics := make(map[string]topicState, len(names))
	if len(names) == 0 {
		return topics, nil
	}
	described, err := admin.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames(names), kafka.SetAdminOptionIncludeAuthorizedOperations(true))
	if err != nil {
		return nil, fmt.Errorf("ask which topics there are: %w", err)
	}
	for _, d := range described.TopicDescriptions {
		state := topicState{unreadable: mayNotRead(d.AuthorizedOperations)}
		if d.Error.Code() != kafka.ErrNoError {
			state.err = d.Error
		}
		if id := d.TopicID; id.GetMostSignificantBits() != 0 || id.GetLeastSignificantBits() != 0 {
			state.id = topicID{Cluster: cluster, Topic: id.String()}
		}
		for _, p := range d.Partitions {
			if p.Leader == nil || p.Leader.ID < 0 {
				state.leaderless = append(state.leaderless, int32(p.Partition))
			}
		}
		topics[d.Name] = state
	}
	return topics, nil
}

// listOffsets asks for one end of partitions. What the brokers do not say of one
// goes to faults.
func listOffsets(ctx context.Context, admin *kafka.AdminClient, keys []partitionKey, end kafka.OffsetSpec, faults map[partitionKey]error) map[partitionKey]int64 {
	if len(keys) == 0 {
		return nil
	}
	wanted := make(map[kafka.TopicPartition]kafka.OffsetSpec, len(keys))
	for _, key := range keys {
		wanted[key.at(0)] = end
	}
	listed, err := admin.ListOffsets(ctx, wanted)
	if err != nil {
		blame(keys, fmt.Errorf("ask where the partitions begin and end: %w", err), faults)
		return nil
	}
	offsets := make(map[partitionKey]int64, len(keys))
	for part, info := range listed.ResultInfos {
		if info.Error.Code() != kafka.ErrNoError {
			faults[keyOf(part)] = info.Error
			continue
		}
		offsets[keyOf(part)] = int64(info.Offset)
	}
	return offsets
}

// listCommits asks for what a group has committed of partitions. What the brokers
// do not say of one goes to faults.
func listCommits(ctx context.Context, admin *kafka.AdminClient, group string, keys []partitionKey, faults map[partitionKey]error) map[partitionKey]commit {
	if len(keys) == 0 {
		return nil
	}
	parts := make([]kafka.TopicPartition, len(keys))
	for i, key := range keys {
		parts[i] = key.at(kafka.OffsetInvalid)
	}
	listed, err := admin.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: group, Partitions: parts}})
	if err != nil {
		if code(err) != kafka.ErrGroupIDNotFound { // nobody has ever joined
			blame(keys, fmt.Errorf("ask for the group's commits: %w", err), faults)
		}
		return nil
	}
	commits := make(map[partitionKey]commit)
	for _, answer := range listed.ConsumerGroupsTopicPartitions {
		for _, part := range answer.Partitions {
			switch {
			case part.Error != nil:
				faults[keyOf(part)] = part.Error
			case part.Offset >= 0:
				commits[keyOf(part)] = commit{int64(part.Offset), parseMetadata(part.Metadata)}
			}
		}
	}
	return commits
}

func blame(keys []partitionKey, err error, faults map[partitionKey]error) {
	for _, key := range keys {
		faults[key] = err
	}
}
