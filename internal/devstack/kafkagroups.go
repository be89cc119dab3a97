package devstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
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
	admin, err := k.admin()
	if err != nil {
		return nil, err
	}
	fetched, err := admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // the error if no member has ever joined
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	committed := make(Offsets)
	fetched.Each(func(o kadm.OffsetResponse) {
		if o.Err == nil && o.At >= 0 {
			committed.set(o.Topic, o.Partition, o.At)
		}
	})
	return committed, nil
}

// Members returns the number of members of a consumer group.
func (k *Kafka) Members(ctx context.Context, group string) (int, error) {
	admin, err := k.admin()
	if err != nil {
		return 0, err
	}
	described, err := admin.DescribeGroups(ctx, group)
	if err == nil {
		err = described[group].Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return 0, fmt.Errorf("group %s: %w", group, err)
	}
	return len(described[group].Members), nil
}

// Commit commits an offset of a partition for a consumer group without members, as an operator does.
func (k *Kafka) Commit(ctx context.Context, group, topic string, partition int32, offset int64, metadata string) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
	if err := admin.CommitAllOffsets(ctx, group, offsets); err != nil {
		return fmt.Errorf("commit %s[%d] for group %s: %w", topic, partition, group, err)
	}
	return nil
}
