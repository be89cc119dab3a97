package devstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Offsets are offsets by topic and partition.
type Offsets map[string]map[int32]int64

func (o Offsets) set(topic string, partition int32, offset int64) {
	if o[topic] == nil {
		o[topic] = make(map[int32]int64)
	}
	o[topic][partition] = offset
}

// Sum returns the sum of the offsets of a topic's partitions.
func (o Offsets) Sum(topic string) int64 {
	var sum int64
	for _, offset := range o[topic] {
		sum += offset
	}
	return sum
}

// Committed returns the committed offsets of a consumer group: the offsets that it reads next. A
// partition without a commit is not in the result.
func (k *Kafka) Committed(ctx context.Context, group string) (Offsets, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	reqGroup := kmsg.NewOffsetFetchRequestGroup()
	reqGroup.Group = group
	req.Groups = append(req.Groups, reqGroup)
	resp, err := request[*kmsg.OffsetFetchResponse](ctx, k, req)
	if err != nil {
		return nil, err
	}
	committed := make(Offsets)
	if err := groupError(resp.ErrorCode); err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	for _, t := range resp.Topics { // filled by brokers before 3.0, and by kgo for a request of one group
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Offset >= 0 {
				committed.set(t.Topic, p.Partition, p.Offset)
			}
		}
	}
	for _, g := range resp.Groups {
		if err := groupError(g.ErrorCode); err != nil {
			return nil, fmt.Errorf("offsets of group %s: %w", group, err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode == 0 && p.Offset >= 0 {
					committed.set(t.Topic, p.Partition, p.Offset)
				}
			}
		}
	}
	return committed, nil
}

// Members returns the number of members of a consumer group.
func (k *Kafka) Members(ctx context.Context, group string) (int, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = append(req.Groups, group)
	resp, err := request[*kmsg.DescribeGroupsResponse](ctx, k, req)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, g := range resp.Groups {
		if err := groupError(g.ErrorCode); err != nil {
			return 0, fmt.Errorf("group %s: %w", group, err)
		}
		n += len(g.Members)
	}
	return n, nil
}

// groupError returns the error of a code in a response about a group. A group that no member has
// ever joined is not an error.
func groupError(code int16) error {
	if err := kerr.ErrorForCode(code); !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	return nil
}

// Commit commits an offset of a partition for a consumer group without members, as an operator does.
func (k *Kafka) Commit(ctx context.Context, group, topic string, partition int32, offset int64, metadata string) error {
	described, err := k.describe(ctx, topic)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	reqTopic := kmsg.NewOffsetCommitRequestTopic()
	reqTopic.Topic, reqTopic.TopicID = topic, described.TopicID
	reqPartition := kmsg.NewOffsetCommitRequestTopicPartition()
	reqPartition.Partition, reqPartition.Offset, reqPartition.Metadata = partition, offset, new(metadata)
	reqTopic.Partitions = append(reqTopic.Partitions, reqPartition)
	req.Topics = append(req.Topics, reqTopic)
	resp, err := request[*kmsg.OffsetCommitResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit %s[%d] for group %s: %w", topic, p.Partition, group, err)
			}
		}
	}
	return nil
}
