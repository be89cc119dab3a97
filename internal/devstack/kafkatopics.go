package devstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// CreateTopic creates a topic and returns when its partitions have leaders.
func (k *Kafka) CreateTopic(ctx context.Context, topic string, partitions int32) error {
	return k.CreateTopicWith(ctx, topic, partitions, nil)
}

// CreateTopicWith creates a topic with settings, such as cleanup.policy, and returns when its
// partitions have leaders.
func (k *Kafka) CreateTopicWith(ctx context.Context, topic string, partitions int32, settings map[string]string) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	configs := make(map[string]*string, len(settings))
	for name, value := range settings {
		configs[name] = new(value)
	}
	if _, err := admin.CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return k.awaitLeaders(ctx, topic, int(partitions))
}

// DeleteTopic deletes a topic with its messages and returns when the broker no longer knows it.
func (k *Kafka) DeleteTopic(ctx context.Context, topic string) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	k.closeClient() // because the client remembers the topic's ID, which another topic of that name will not have
	return k.awaitLeaders(ctx, topic, 0)
}

// awaitLeaders waits until exactly so many partitions of a topic have a leader.
func (k *Kafka) awaitLeaders(ctx context.Context, topic string, partitions int) error {
	return awaitSuccess(ctx, fmt.Sprintf("leaders of the %d partitions of topic %s", partitions, topic), func() (any, error) {
		n, err := k.countLeaders(ctx, topic)
		if err == nil && n != partitions {
			err = fmt.Errorf("%d partitions have a leader", n)
		}
		return n, err
	})
}

// countLeaders returns the number of partitions of a topic that have a leader.
func (k *Kafka) countLeaders(ctx context.Context, topic string) (int, error) {
	admin, err := k.admin()
	if err != nil {
		return 0, err
	}
	described, err := admin.ListTopics(ctx, topic)
	n := 0
	for _, p := range described[topic].Partitions {
		if p.Err == nil && p.Leader >= 0 {
			n++
		}
	}
	return n, err
}

// DeleteRecords deletes the messages of a partition that are below an offset, as retention does.
func (k *Kafka) DeleteRecords(ctx context.Context, topic string, partition int32, below int64) error {
	admin, err := k.admin()
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, below, -1)
	deleted, err := admin.DeleteRecords(ctx, offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return fmt.Errorf("delete records of %s[%d]: %w", topic, partition, err)
	}
	return nil
}

// CompactedSettings returns the settings of a topic that the broker compacts within seconds.
func CompactedSettings() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.ms": "100", "max.compaction.lag.ms": "1000"}
}

// Compact waits until the broker has deleted a message of a compacted partition. Compaction keeps
// the newest message of each key, and every message of the last segment.
func (k *Kafka) Compact(ctx context.Context, topic string, partition int32) error {
	return awaitSuccess(ctx, fmt.Sprintf("the compaction of %s[%d]", topic, partition), func() (any, error) {
		if kfake, ok := k.broker.(*kfakeBroker); ok {
			kfake.cluster.Compact()
		}
		offsets, err := k.offsets(ctx, topic, partition)
		if err == nil && (len(offsets) == 0 || offsets[len(offsets)-1]-offsets[0]+1 == int64(len(offsets))) {
			err = errors.New("no message is missing between the first and the last")
		}
		return len(offsets), err
	})
}

// offsets returns the offsets of the messages in a partition.
func (k *Kafka) offsets(ctx context.Context, topic string, partition int32) ([]int64, error) {
	end, err := k.endOffset(ctx, topic, partition)
	if err != nil || end == 0 {
		return nil, err
	}
	reader, err := kgo.NewClient(append(k.clientOptions(k.Password()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var offsets []int64
	for len(offsets) == 0 || offsets[len(offsets)-1] < end-1 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) { offsets = append(offsets, r.Offset) })
	}
	return offsets, nil
}

// endOffset returns the offset that the next message of a partition will have.
func (k *Kafka) endOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	admin, err := k.admin()
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	end, ok := ends.Lookup(topic, partition)
	if !ok {
		return 0, fmt.Errorf("the broker's answer does not contain %s[%d]", topic, partition)
	}
	return end.Offset, end.Err
}
