package devstack

import (
	"context"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Message is a message to produce.
type Message struct {
	Topic     string
	Partition int32 // or AnyPartition
	Key       []byte
	Value     []byte
	Time      time.Time // default now
}

// AnyPartition lets the producer choose the partition: by the key, or any partition if there is no
// key.
const AnyPartition int32 = -1

// partitioner uses the partition of a Message. For AnyPartition it leaves the choice to the
// embedded partitioner.
type partitioner struct{ kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.Partitioner.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

func (p topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition != AnyPartition || p.TopicPartitioner.RequiresConsistency(r)
}

func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition != AnyPartition {
		return int(r.Partition)
	}
	return p.TopicPartitioner.Partition(r, n)
}

// Produce writes one message and returns when the broker has acknowledged it.
func (k *Kafka) Produce(ctx context.Context, topic string, partition int32, key, value []byte) error {
	return k.ProduceAll(ctx, Message{Topic: topic, Partition: partition, Key: key, Value: value})
}

// ProduceAll writes messages in batches and returns when the broker has acknowledged them. The error
// is that of the first message that failed.
func (k *Kafka) ProduceAll(ctx context.Context, messages ...Message) error {
	client, err := k.currentClient()
	if err != nil {
		return err
	}
	return produce(ctx, client, messages)
}

func produce(ctx context.Context, client *kgo.Client, messages []Message) error {
	records := make([]*kgo.Record, 0, len(messages))
	for _, m := range messages {
		records = append(records, &kgo.Record{Topic: m.Topic, Partition: m.Partition, Key: m.Key, Value: m.Value, Timestamp: m.Time})
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return nil
}

// Stored is a message on a topic.
type Stored struct {
	Partition int32
	Offset    int64
	Value     []byte // nil for a null value
}

// ReadAll returns the messages that a topic has at the moment.
func (k *Kafka) ReadAll(ctx context.Context, topic string) ([]Stored, error) {
	admin, err := k.admin()
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("ends of topic %s: %w", topic, err)
	}
	client, err := kgo.NewClient(append(k.clientOptions(k.Password()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	missing := make(map[int32]int64) // how far each partition is to be read
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			missing[o.Partition] = o.Offset
		}
	})
	var all []Stored
	for len(missing) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("read topic %s: %w", topic, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			all = append(all, Stored{r.Partition, r.Offset, r.Value})
			if end, ok := missing[r.Partition]; ok && r.Offset >= end-1 {
				delete(missing, r.Partition)
			}
		})
	}
	return all, nil
}

// Transaction writes messages in one transaction, which it then commits or aborts.
func (k *Kafka) Transaction(ctx context.Context, end kgo.TransactionEndTry, messages ...Message) error {
	client, err := kgo.NewClient(append(k.clientOptions(k.Password()), kgo.TransactionalID(uuid.NewString()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := produce(ctx, client, messages); err != nil {
		return err
	}
	if err := client.EndTransaction(ctx, end); err != nil {
		return fmt.Errorf("end the transaction: %w", err)
	}
	return nil
}

// Codec is the compression of a batch, as in the batch's attributes.
type Codec int16

// Two of Kafka's codecs.
const (
	Gzip Codec = 1
	Zstd Codec = 4
)

// ProduceDamaged writes a batch of one message that claims to be compressed by codec and is not. The
// batch's checksum is right, so only a consumer notices the damage. It needs BackendKfake, because
// Apache Kafka rejects such a batch.
func (k *Kafka) ProduceDamaged(ctx context.Context, topic string, partition int32, codec Codec) error {
	batch := kmsg.NewRecordBatch()
	batch.PartitionLeaderEpoch, batch.Magic = -1, 2
	batch.Attributes, batch.NumRecords = int16(codec), 1
	batch.FirstTimestamp = time.Now().UnixMilli()
	batch.MaxTimestamp = batch.FirstTimestamp
	batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence = -1, -1, -1
	batch.Records = []byte("not compressed at all")
	// Length counts the bytes after itself, and CRC covers the bytes after itself.
	const endOfLength, endOfCRC = 12, 21 // offsets in the batch, in bytes
	batch.Length = int32(len(batch.AppendTo(nil)) - endOfLength)
	batch.CRC = int32(crc32.Checksum(batch.AppendTo(nil)[endOfCRC:], crc32.MakeTable(crc32.Castagnoli)))

	client, err := k.currentClient()
	if err != nil {
		return err
	}
	described, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	reqTopic := kmsg.NewProduceRequestTopic()
	reqTopic.Topic, reqTopic.TopicID = topic, described[topic].ID
	reqPartition := kmsg.NewProduceRequestTopicPartition()
	reqPartition.Partition, reqPartition.Records = partition, batch.AppendTo(nil)
	reqTopic.Partitions = append(reqTopic.Partitions, reqPartition)
	req.Topics = append(req.Topics, reqTopic)
	resp, err := req.RequestWith(ctx, client)
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
