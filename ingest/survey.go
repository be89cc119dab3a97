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
	// surveyInterval keeps fanout_consumer_lag at most 10 s old.
	surveyInterval = 5 * time.Second
	// surveyRetry is the wait before the brokers are asked again for what they did not
	// answer.
	surveyRetry = time.Second
	// surveyTimeout bounds one survey.
	surveyTimeout = 5 * time.Second
)

// survey is a set of questions to the brokers about the topics and partitions of a session,
// and their answers. The questions are asked on a goroutine of their own, because a poll must
// not wait for an answer. The goroutine that polls acts on the answers.
type survey struct {
	unpositioned []*unpositioned
	partitions   []partitionKey // all that are assigned

	topics  map[string]topicState
	ends    map[partitionKey]int64
	starts  map[partitionKey]int64 // of the unpositioned ones
	commits map[partitionKey]committedOffset
	errs    map[partitionKey]error // of partitions for which an answer is missing
	err     error                  // no question was answered
}

// committedOffset is an offset that the group has committed.
type committedOffset struct {
	offset int64
	topic  topicID // from the metadata of the commit
}

// facts returns what the survey found about an unpositioned partition. The error says which
// answer is missing.
func (f *survey) facts(key partitionKey) (partitionFacts, error) {
	if f.err != nil {
		return partitionFacts{}, f.err
	}
	if err := f.errs[key]; err != nil {
		return partitionFacts{}, err
	}
	start, startKnown := f.starts[key]
	end, endKnown := f.ends[key]
	if !startKnown || !endKnown {
		return partitionFacts{}, errors.New("the brokers did not answer where the partition begins and ends")
	}
	facts := partitionFacts{committed: -1, topic: f.topics[key.topic].id, start: start, end: end}
	if c, ok := f.commits[key]; ok {
		facts.committed, facts.committedTopic = c.offset, c.topic
	}
	return facts, nil
}

// surveys runs one survey at a time. Only the goroutine that polls uses it.
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

// requestNow makes the next survey begin at once.
func (v *surveys) requestNow() { v.requestBy(time.Time{}) }

// requestBy makes the next survey begin at a time, if it would begin later.
func (v *surveys) requestBy(at time.Time) {
	if v.next.After(at) {
		v.next = at
	}
}

// completed returns the survey that has ended since the last call, or nil.
func (v *surveys) completed() *survey {
	select {
	case found := <-v.answers:
		v.asking = false
		return found
	default:
		return nil
	}
}

// due reports whether a survey should begin.
func (v *surveys) due(now time.Time) bool { return !v.asking && !now.Before(v.next) }

// start begins a survey and does not wait for it.
func (v *surveys) start(ctx context.Context, now time.Time, questions *survey, topics []string) {
	v.asking, v.next = true, now.Add(surveyInterval)
	v.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
		defer cancel()
		v.ask(ctx, questions, topics)
		v.answers <- questions
	})
}

// runSurveys acts on a survey that has ended, and begins the next one if it is due.
func (s *session) runSurveys(ctx context.Context, now time.Time) {
	if found := s.surveys.completed(); found != nil {
		s.applySurvey(found, now)
	}
	if !s.surveys.due(now) {
		return
	}
	questions := &survey{}
	for _, p := range s.partitions() {
		questions.partitions = append(questions.partitions, p.key)
	}
	for key, u := range s.unpositioned {
		questions.unpositioned = append(questions.unpositioned, u)
		questions.partitions = append(questions.partitions, key)
	}
	s.surveys.start(ctx, now, questions, s.topics())
}

// applySurvey positions partitions, finds topics that were created again, and reports topics
// and partitions that cannot be read.
func (s *session) applySurvey(found *survey, now time.Time) {
	s.positionPartitions(found, now)
	if len(s.unpositioned) > 0 {
		s.surveys.requestBy(now.Add(surveyRetry))
	}
	s.reportStalls(now)
	if found.err != nil {
		return // brokers that do not answer are reported by the readiness of Kafka
	}
	s.found = found
	for _, p := range s.partitions() {
		if state, ok := found.topics[p.key.topic]; ok && p.topicID.differs(state.id) {
			s.invalidatePosition(p, now)
			continue
		}
		if end, ok := found.ends[p.key]; ok {
			p.offsets.recordEnd(end, now)
			if !s.paused {
				p.observeEnd(end, now)
			}
		}
	}
	s.reportTopics(now)
}

// askBrokers sends the questions of a survey and stores the answers in it.
func (s *session) askBrokers(ctx context.Context, f *survey, topics []string) {
	f.errs = make(map[partitionKey]error)
	if f.topics, f.err = describeTopics(ctx, s.admin, s.clusterID(ctx), topics); f.err != nil {
		return
	}
	readable := make([]partitionKey, 0, len(f.partitions))
	for _, key := range f.partitions {
		state := f.topics[key.topic]
		switch {
		case state.err != nil:
			f.errs[key] = state.err
		case slices.Contains(state.leaderless, key.partition):
			f.errs[key] = errLeaderless
		default:
			readable = append(readable, key)
		}
	}
	f.ends = listOffsets(ctx, s.admin, readable, kafka.LatestOffsetSpec, f.errs)
	var keys []partitionKey
	for _, u := range f.unpositioned {
		if f.errs[u.key] == nil {
			keys = append(keys, u.key)
		}
	}
	f.starts = listOffsets(ctx, s.admin, keys, kafka.EarliestOffsetSpec, f.errs)
	f.commits = listCommits(ctx, s.admin, s.ingest.options.GroupID, keys, f.errs)
}

// clusterIDTimeout bounds the question for the cluster's id. librdkafka has the id from the
// metadata by which it found the topics, but waits for the whole of this time if the brokers
// report none.
const clusterIDTimeout = 200 * time.Millisecond

// clusterID returns the id of the cluster, and stores it once it is known. It is empty if the
// brokers report none, as some brokers do that are compatible with Kafka; then only the ids
// of the topics are compared. It does not describe the cluster, because librdkafka ends the
// process with a segmentation fault if such an answer has no id.
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

// describeTopics asks the brokers for the state of topics.
func describeTopics(ctx context.Context, admin *kafka.AdminClient, cluster string, names []string) (map[string]topicState, error) {
	topics := make(map[string]topicState, len(names))
	if len(names) == 0 {
		return topics, nil
	}
	described, err := admin.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames(names), kafka.SetAdminOptionIncludeAuthorizedOperations(true))
	if err != nil {
		return nil, fmt.Errorf("describe the topics: %w", err)
	}
	for _, d := range described.TopicDescriptions {
		state := topicState{readNotAllowed: ReadNotAllowed(d.AuthorizedOperations)}
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

// listOffsets asks the brokers for the first or the last offset of partitions. It adds an
// error to errs for each partition that they did not answer for.
func listOffsets(ctx context.Context, admin *kafka.AdminClient, keys []partitionKey, spec kafka.OffsetSpec, errs map[partitionKey]error) map[partitionKey]int64 {
	if len(keys) == 0 {
		return nil
	}
	wanted := make(map[kafka.TopicPartition]kafka.OffsetSpec, len(keys))
	for _, key := range keys {
		wanted[key.at(0)] = spec
	}
	listed, err := admin.ListOffsets(ctx, wanted)
	if err != nil {
		addError(errs, keys, fmt.Errorf("list the offsets of the partitions: %w", err))
		return nil
	}
	offsets := make(map[partitionKey]int64, len(keys))
	for part, info := range listed.ResultInfos {
		if info.Error.Code() != kafka.ErrNoError {
			errs[keyOf(part)] = info.Error
			continue
		}
		offsets[keyOf(part)] = int64(info.Offset)
	}
	return offsets
}

// listCommits asks the brokers for the group's committed offsets of partitions. It adds an
// error to errs for each partition that they did not answer for.
func listCommits(ctx context.Context, admin *kafka.AdminClient, group string, keys []partitionKey, errs map[partitionKey]error) map[partitionKey]committedOffset {
	if len(keys) == 0 {
		return nil
	}
	parts := make([]kafka.TopicPartition, len(keys))
	for i, key := range keys {
		parts[i] = key.at(kafka.OffsetInvalid)
	}
	listed, err := admin.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: group, Partitions: parts}})
	if err != nil {
		if errorCode(err) != kafka.ErrGroupIDNotFound { // no member has ever joined
			addError(errs, keys, fmt.Errorf("list the group's committed offsets: %w", err))
		}
		return nil
	}
	commits := make(map[partitionKey]committedOffset)
	for _, answer := range listed.ConsumerGroupsTopicPartitions {
		for _, part := range answer.Partitions {
			switch {
			case part.Error != nil:
				errs[keyOf(part)] = part.Error
			case part.Offset >= 0:
				commits[keyOf(part)] = committedOffset{int64(part.Offset), parseMetadata(part.Metadata)}
			}
		}
	}
	return commits
}

func addError(errs map[partitionKey]error, keys []partitionKey, err error) {
	for _, key := range keys {
		errs[key] = err
	}
}
