package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// ProbedGroup is what is known of the consumer group.
type ProbedGroup struct {
	Members int
	Lag     int64 // messages that it has not read, over the partitions that exist
	Lost    int64 // messages that the topics dropped before it read them
	Fresh   bool  // it has committed nothing yet
	// Unusable says that the brokers told which operations are allowed, and
	// reading is not one.
	Unusable bool
}

// Group asks for the consumer group and how far behind it is on topics. An error
// may be a kafka.Error of code ErrGroupAuthorizationFailed.
func (p *Probe) Group(ctx context.Context, topics []ProbedTopic) (group ProbedGroup, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		if err := p.describeGroup(ctx, &group); err != nil {
			return err
		}
		committed, err := p.committed(ctx)
		if err != nil {
			return err
		}
		ends, err := p.bounds(ctx, topics, kafka.LatestOffsetSpec)
		if err != nil {
			return err
		}
		begins, err := p.bounds(ctx, topics, kafka.EarliestOffsetSpec)
		if err != nil {
			return err
		}
		group.Fresh = true
		for partition, end := range ends {
			begin, next := begins[partition], committed[partition]
			if _, known := committed[partition]; known {
				group.Fresh = false
				group.Lost += max(begin-next, 0)
			} else if next = begin; p.latest {
				next = end
			}
			group.Lag += max(end-max(next, begin), 0)
		}
		return nil
	})
	return group, err
}

func (p *Probe) describeGroup(ctx context.Context, group *ProbedGroup) error {
	described, err := p.admin.DescribeConsumerGroups(ctx, []string{p.group}, kafka.SetAdminOptionIncludeAuthorizedOperations(true))
	if err != nil {
		return err
	}
	for _, d := range described.ConsumerGroupDescriptions {
		switch d.Error.Code() {
		case kafka.ErrNoError:
		case kafka.ErrGroupIDNotFound: // nobody has ever joined
			continue
		default:
			return d.Error
		}
		group.Members = len(d.Members)
		group.Unusable = mayNotRead(d.AuthorizedOperations)
	}
	return nil
}

// committed are the offsets that the group reads next, where it has committed any.
func (p *Probe) committed(ctx context.Context) (map[partitionKey]int64, error) {
	listed, err := p.admin.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: p.group}})
	var e kafka.Error
	if errors.As(err, &e) && e.Code() == kafka.ErrGroupIDNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	offsets := make(map[partitionKey]int64)
	for _, group := range listed.ConsumerGroupsTopicPartitions {
		for _, partition := range group.Partitions {
			if partition.Error != nil {
				return nil, partition.Error
			}
			if partition.Offset >= 0 {
				offsets[keyOf(partition)] = int64(partition.Offset)
			}
		}
	}
	return offsets, nil
}

// bounds are the offsets at one end of every partition.
func (p *Probe) bounds(ctx context.Context, topics []ProbedTopic, end kafka.OffsetSpec) (map[partitionKey]int64, error) {
	var keys []partitionKey
	for _, topic := range topics {
		for partition := range topic.Partitions {
			keys = append(keys, partitionKey{topic.Name, int32(partition)})
		}
	}
	faults := make(map[partitionKey]error)
	offsets := listOffsets(ctx, p.admin, keys, end, faults)
	for key, err := range faults {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return offsets, nil
}
