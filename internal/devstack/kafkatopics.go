package devstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/internal/await"
)

// adminTimeoutMillis is how long the broker may take for a change of topics.
const adminTimeoutMillis = 10_000

// CreateTopic creates a topic and returns when its partitions have leaders.
func (k *Kafka) CreateTopic(ctx context.Context, topic string, partitions int32) error {
	return k.CreateTopicWith(ctx, topic, partitions, nil)
}

// CreateTopicWith creates a topic with settings, such as cleanup.policy, and returns when its
// partitions have leaders.
func (k *Kafka) CreateTopicWith(ctx context.Context, topic string, partitions int32, settings map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = adminTimeoutMillis
	reqTopic := kmsg.NewCreateTopicsRequestTopic()
	reqTopic.Topic, reqTopic.NumPartitions, reqTopic.ReplicationFactor = topic, partitions, 1
	for name, value := range settings {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, new(value)
		reqTopic.Configs = append(reqTopic.Configs, config)
	}
	req.Topics = append(req.Topics, reqTopic)
	resp, err := request[*kmsg.CreateTopicsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return k.awaitLeaders(ctx, topic, int(partitions))
}

// DeleteTopic deletes a topic with its messages and returns when the broker no longer knows it.
func (k *Kafka) DeleteTopic(ctx context.Context, topic string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = adminTimeoutMillis
	req.TopicNames = []string{topic} // for versions of the request before 6
	reqTopic := kmsg.NewDeleteTopicsRequestTopic()
	reqTopic.Topic = new(topic)
	req.Topics = append(req.Topics, reqTopic)
	resp, err := request[*kmsg.DeleteTopicsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	k.closeClient() // because the client remembers the topic's ID, which another topic of that name will not have
	return k.awaitLeaders(ctx, topic, 0)
}

// awaitLeaders waits until exactly so many partitions of a topic have a leader.
func (k *Kafka) awaitLeaders(ctx context.Context, topic string, partitions int) error {
	var failure error
	err := await.Until(ctx, fmt.Sprintf("leaders of the %d partitions of topic %s", partitions, topic), func() (any, bool) {
		var n int
		n, failure = k.countLeaders(ctx, topic)
		return n, failure == nil && n == partitions
	})
	if err != nil && failure != nil {
		return fmt.Errorf("%w: %w", err, failure)
	}
	return err
}

// countLeaders returns the number of partitions of a topic that have a leader.
func (k *Kafka) countLeaders(ctx context.Context, topic string) (int, error) {
	described, err := k.describe(ctx, topic)
	n := 0
	for _, p := range described.Partitions {
		if p.ErrorCode == 0 && p.Leader >= 0 {
			n++
		}
	}
	return n, err
}

// describe returns the broker's metadata of a topic.
func (k *Kafka) describe(ctx context.Context, topic string) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	reqTopic := kmsg.NewMetadataRequestTopic()
	reqTopic.Topic = new(topic)
	req.Topics = append(req.Topics, reqTopic)
	resp, err := request[*kmsg.MetadataResponse](ctx, k, req)
	if err != nil || len(resp.Topics) == 0 {
		return kmsg.MetadataResponseTopic{}, err
	}
	return resp.Topics[0], nil
}

// DeleteRecords deletes the messages of a partition that are below an offset, as retention does.
func (k *Kafka) DeleteRecords(ctx context.Context, topic string, partition int32, below int64) error {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = adminTimeoutMillis
	reqTopic := kmsg.NewDeleteRecordsRequestTopic()
	reqTopic.Topic = topic
	reqPartition := kmsg.NewDeleteRecordsRequestTopicPartition()
	reqPartition.Partition, reqPartition.Offset = partition, below
	reqTopic.Partitions = append(reqTopic.Partitions, reqPartition)
	req.Topics = append(req.Topics, reqTopic)
	resp, err := request[*kmsg.DeleteRecordsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("delete records of %s[%d]: %w", topic, p.Partition, err)
			}
		}
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
	for {
		if kfake, ok := k.broker.(*kfakeBroker); ok {
			kfake.cluster.Compact()
		}
		offsets, err := k.offsets(ctx, topic, partition)
		if err == nil && len(offsets) > 0 && offsets[len(offsets)-1]-offsets[0]+1 > int64(len(offsets)) {
			return nil
		}
		if !pause(ctx) {
			return fmt.Errorf("wait for the compaction of %s[%d]: %w", topic, partition, errors.Join(ctx.Err(), err))
		}
	}
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
	const latest = -1 // instead of a timestamp
	req := kmsg.NewPtrListOffsetsRequest()
	reqTopic := kmsg.NewListOffsetsRequestTopic()
	reqTopic.Topic = topic
	reqPartition := kmsg.NewListOffsetsRequestTopicPartition()
	reqPartition.Partition, reqPartition.Timestamp = partition, latest
	reqTopic.Partitions = append(reqTopic.Partitions, reqPartition)
	req.Topics = append(req.Topics, reqTopic)
	resp, err := request[*kmsg.ListOffsetsResponse](ctx, k, req)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			return p.Offset, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return 0, fmt.Errorf("the broker's answer does not contain %s[%d]", topic, partition)
}
