package probe

import (
	"context"
	"errors"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/ingest"
)

// Group is the state of the consumer group.
type Group struct {
	Members   int
	Lag       int64 // messages that the group has not read, in the partitions that exist
	Dropped   int64 // messages that the topics dropped before the group read them
	NoCommits bool  // the group has committed no offset yet
	// ReadNotAllowed means that the brokers listed the operations that are allowed on the
	// group, and reading is not among them.
	ReadNotAllowed bool
}

// partition identifies a partition.
type partition struct {
	topic  string
	number int32
}

func partitionOf(p kafka.TopicPartition) partition { return partition{*p.Topic, p.Partition} }

func (p partition) String() string { return fmt.Sprintf("%s[%d]", p.topic, p.number) }

// Group returns the state of the consumer group, with its lag over the topics. Of an error,
// ingest.IsAuthorizationError reports whether the user lacks the right.
func (p *Probe) Group(ctx context.Context, topics []Topic) (group Group, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		if err := p.describeGroup(ctx, &group); err != nil {
			return err
		}
		committed, err := p.committedOffsets(ctx)
		if err != nil {
			return err
		}
		ends, err := p.offsets(ctx, topics, kafka.LatestOffsetSpec)
		if err != nil {
			return err
		}
		starts, err := p.offsets(ctx, topics, kafka.EarliestOffsetSpec)
		if err != nil {
			return err
		}
		group.NoCommits = true
		for partition, end := range ends {
			start := starts[partition]
			next, known := committed[partition]
			switch {
			case known:
				group.NoCommits = false
				group.Dropped += max(start-next, 0)
			case p.latest:
				next = end
			default:
				next = start
			}
			group.Lag += max(end-max(next, start), 0)
		}
		return nil
	})
	return group, err
}

func (p *Probe) describeGroup(ctx context.Context, group *Group) error {
	described, err := p.admin.DescribeConsumerGroups(ctx, []string{p.group}, kafka.SetAdminOptionIncludeAuthorizedOperations(true))
	if err != nil {
		return err
	}
	for _, d := range described.ConsumerGroupDescriptions {
		switch d.Error.Code() {
		case kafka.ErrNoError:
		case kafka.ErrGroupIDNotFound: // no member has ever joined
			continue
		default:
			return d.Error
		}
		group.Members = len(d.Members)
		group.ReadNotAllowed = ingest.ReadNotAllowed(d.AuthorizedOperations)
	}
	return nil
}

// committedOffsets returns the offsets that the group has committed, by partition.
func (p *Probe) committedOffsets(ctx context.Context) (map[partition]int64, error) {
	listed, err := p.admin.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: p.group}})
	if e, ok := errors.AsType[kafka.Error](err); ok && e.Code() == kafka.ErrGroupIDNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	offsets := make(map[partition]int64)
	for _, group := range listed.ConsumerGroupsTopicPartitions {
		for _, committed := range group.Partitions {
			if committed.Error != nil {
				return nil, committed.Error
			}
			if committed.Offset >= 0 {
				offsets[partitionOf(committed)] = int64(committed.Offset)
			}
		}
	}
	return offsets, nil
}

// offsets returns the first or the last offset of every partition of the topics.
func (p *Probe) offsets(ctx context.Context, topics []Topic, spec kafka.OffsetSpec) (map[partition]int64, error) {
	wanted := make(map[kafka.TopicPartition]kafka.OffsetSpec)
	for _, topic := range topics {
		for number := range topic.Partitions {
			wanted[kafka.TopicPartition{Topic: &topic.Name, Partition: int32(number)}] = spec
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	listed, err := p.admin.ListOffsets(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("list the offsets of the partitions: %w", err)
	}
	offsets := make(map[partition]int64, len(wanted))
	for part, info := range listed.ResultInfos {
		if info.Error.Code() != kafka.ErrNoError {
			return nil, fmt.Errorf("%s: %w", partitionOf(part), info.Error)
		}
		offsets[partitionOf(part)] = int64(info.Offset)
	}
	return offsets, nil
}
