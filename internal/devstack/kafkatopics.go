package devstack

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/internal/await"
)

// CreateTopic creates a topic and returns when its partitions have leaders.
func (k *Kafka) CreateTopic(ctx context.Context, topic string, partitions int32) error {
	return k.CreateTopicWith(ctx, topic, partitions, nil)
}

// CreateTopicWith does the same with settings, such as cleanup.policy.
func (k *Kafka) CreateTopicWith(ctx context.Context, topic string, partitions int32, settings map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, partitions, 1
	for name, value := range settings {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, new(value)
		one.Configs = append(one.Configs, config)
	}
	req.Topics = append(req.Topics, one)
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

// DeleteTopic deletes a topic with its messages and returns when no broker knows it.
func (k *Kafka) DeleteTopic(ctx context.Context, topic string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	req.TopicNames = []string{topic} // before version 6
	one := kmsg.NewDeleteTopicsRequestTopic()
	one.Topic = new(topic)
	req.Topics = append(req.Topics, one)
	resp, err := request[*kmsg.DeleteTopicsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("delete topic %s: %w", topic, err)
		}
	}
	k.forget() // the client knows the topic by its id
	return k.awaitLeaders(ctx, topic, 0)
}

func (k *Kafka) awaitLeaders(ctx context.Context, topic string, partitions int) error {
	var answer error
	err := await.Until(ctx, fmt.Sprintf("leaders of the %d partitions of topic %s", partitions, topic), func() (any, bool) {
		var n int
		n, answer = k.led(ctx, topic)
		return n, answer == nil && n == partitions
	})
	if err != nil && answer != nil {
		return fmt.Errorf("%w: %w", err, answer)
	}
	return err
}

// led counts the partitions of a topic that have a leader.
func (k *Kafka) led(ctx context.Context, topic string) (int, error) {
	described, err := k.describe(ctx, topic)
	n := 0
	for _, p := range described.Partitions {
		if p.ErrorCode == 0 && p.Leader >= 0 {
			n++
		}
	}
	return n, err
}

// describe asks what the broker knows of a topic.
func (k *Kafka) describe(ctx context.Context, topic string) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = new(topic)
	req.Topics = append(req.Topics, one)
	resp, err := request[*kmsg.MetadataResponse](ctx, k, req)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	for _, t := range resp.Topics {
		return t, nil
	}
	return kmsg.MetadataResponseTopic{}, nil
}

// DeleteRecords drops the messages of a partition below an offset, as retention
// does.
func (k *Kafka) DeleteRecords(ctx context.Context, topic string, partition int32, below int64) error {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	one := kmsg.NewDeleteRecordsRequestTopic()
	one.Topic = topic
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Partition, part.Offset = partition, below
	one.Partitions = append(one.Partitions, part)
	req.Topics = append(req.Topics, one)
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

// Transaction writes messages in one transaction, which it commits or aborts.
func (k *Kafka) Transaction(ctx context.Context, end kgo.TransactionEndTry, messages ...Message) error {
	client, err := kgo.NewClient(append(k.access(k.Password()), kgo.TransactionalID(uuid.NewString()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := client.ProduceSync(ctx, records(messages)...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if err := client.EndTransaction(ctx, end); err != nil {
		return fmt.Errorf("end the transaction: %w", err)
	}
	return nil
}

// Codec is how a batch is compressed, as in its attributes.
type Codec int16

// Two of Kafka's codecs.
const (
	Gzip Codec = 1
	Zstd Codec = 4
)

// ProduceDamaged writes a batch of one message whose content is no such
// compression. Its checksum is right. Apache Kafka refuses it.
func (k *Kafka) ProduceDamaged(ctx context.Context, topic string, partition int32, codec Codec) error {
	batch := kmsg.NewRecordBatch()
	batch.PartitionLeaderEpoch, batch.Magic = -1, 2
	batch.Attributes, batch.NumRecords = int16(codec), 1
	batch.FirstTimestamp = time.Now().UnixMilli()
	batch.MaxTimestamp = batch.FirstTimestamp
	batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence = -1, -1, -1
	batch.Records = []byte("not compressed at all")
	const lengthEnds, checksumEnds = 12, 21 // bytes of the batch's head
	batch.Length = int32(len(batch.AppendTo(nil)) - lengthEnds)
	batch.CRC = int32(crc32.Checksum(batch.AppendTo(nil)[checksumEnds:], crc32.MakeTable(crc32.Castagnoli)))

	described, err := k.describe(ctx, topic)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	one := kmsg.NewProduceRequestTopic()
	one.Topic, one.TopicID = topic, described.TopicID
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, batch.AppendTo(nil)
	one.Partitions = append(one.Partitions, part)
	req.Topics = append(req.Topics, one)
	resp, err := request[*kmsg.ProduceResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("produce a damaged batch to %s[%d]: %w", topic, p.Partition, err)
			}
		}
	}
	return nil
}

// Commit sets what a consumer group without members has committed of a partition,
// as an operator does.
func (k *Kafka) Commit(ctx context.Context, group, topic string, partition int32, offset int64, metadata string) error {
	described, err := k.describe(ctx, topic)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	one := kmsg.NewOffsetCommitRequestTopic()
	one.Topic, one.TopicID = topic, described.TopicID
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset, part.Metadata = partition, offset, new(metadata)
	one.Partitions = append(one.Partitions, part)
	req.Topics = append(req.Topics, one)
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

// CompactedSettings are those of a topic that Compact can compact within seconds.
func CompactedSettings() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.ms": "100", "max.compaction.lag.ms": "1000"}
}

// Compact returns when the broker has dropped a message of a compacted partition.
// All but the newest of a key go, and what is in the last segment stays.
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

// offsets are those of the messages in a partition.
func (k *Kafka) offsets(ctx context.Context, topic string, partition int32) ([]int64, error) {
	end, err := k.end(ctx, topic, partition)
	if err != nil || end == 0 {
		return nil, err
	}
	reader, err := kgo.NewClient(append(k.access(k.Password()),
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

// end is the offset after the last message of a partition.
func (k *Kafka) end(ctx context.Context, topic string, partition int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	one := kmsg.NewListOffsetsRequestTopic()
	one.Topic = topic
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = partition, -1
	one.Partitions = append(one.Partitions, part)
	req.Topics = append(req.Topics, one)
	resp, err := request[*kmsg.ListOffsetsResponse](ctx, k, req)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			return p.Offset, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return 0, fmt.Errorf("no answer for %s[%d]", topic, partition)
}
