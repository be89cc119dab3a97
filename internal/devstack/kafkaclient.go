package devstack

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"genesys-fanout/internal/await"
)

// Message is one to produce.
type Message struct {
	Topic     string
	Partition int32 // AnyPartition: by the key, or any where there is none
	Key       []byte
	Value     []byte
	Time      time.Time // default now
}

// AnyPartition leaves the choice of the partition to the producer.
const AnyPartition int32 = -1

// partitioner honours the partition of a Message and leaves AnyPartition to
// the usual choice.
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

// connection is the client of now.
func (k *Kafka) connection() (*kgo.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != nil {
		return k.client, nil
	}
	client, err := kgo.NewClient(append(k.access(k.password),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(maxMessage),
		kgo.AllowIdempotentProduceCancellation(), // or a Produce in an outage outlives its context
		kgo.RetryTimeout(10*time.Second),
		kgo.MetadataMinAge(pollEvery),
	)...)
	k.client = client
	return client, err
}

// access is how a client of this package reaches the broker.
func (k *Kafka) access(password string) []kgo.Opt {
	auth := scram.Auth{User: k.options.Username, Pass: password}
	if k.options.ACLs {
		auth = scram.Auth{User: admin, Pass: k.adminPassword}
	}
	return []kgo.Opt{
		kgo.SeedBrokers(k.Bootstrap()),
		kgo.DialTLSConfig(k.certificates.client()),
		kgo.SASL(auth.AsSha512Mechanism()),
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
	}
}

// forget closes the client of now; the next one is made when it is needed.
func (k *Kafka) forget() {
	k.mu.Lock()
	client := k.client
	k.client = nil
	k.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// ping waits until the broker answers who leads.
func (k *Kafka) ping(ctx context.Context) error {
	client, err := k.connection()
	if err != nil {
		return err
	}
	var answer error
	err = await.Until(ctx, "Kafka at "+k.Bootstrap(), func() (any, bool) {
		answer = client.Ping(ctx)
		return "", answer == nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, answer)
	}
	return nil
}

// request sends an admin request and returns the answer as R.
func request[R kmsg.Response](ctx context.Context, k *Kafka, req kmsg.Request) (R, error) {
	var none R
	client, err := k.connection()
	if err != nil {
		return none, err
	}
	answer, err := client.Request(ctx, req)
	if err != nil {
		return none, fmt.Errorf("kafka %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	response, ok := answer.(R)
	if !ok {
		return none, fmt.Errorf("kafka %s: answered with %T", kmsg.NameForKey(req.Key()), answer)
	}
	return response, nil
}

// Produce writes one message and returns when the broker has it.
func (k *Kafka) Produce(ctx context.Context, topic string, partition int32, key, value []byte) error {
	return k.ProduceAll(ctx, Message{Topic: topic, Partition: partition, Key: key, Value: value})
}

// ProduceAll writes messages in batches and returns when the broker has them.
// The error is of the first that it has not.
func (k *Kafka) ProduceAll(ctx context.Context, messages ...Message) error {
	client, err := k.connection()
	if err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, records(messages)...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return nil
}

func records(messages []Message) []*kgo.Record {
	records := make([]*kgo.Record, 0, len(messages))
	for _, m := range messages {
		records = append(records, &kgo.Record{Topic: m.Topic, Partition: m.Partition, Key: m.Key, Value: m.Value, Timestamp: m.Time})
	}
	return records
}

// Offsets are by topic and partition.
type Offsets map[string]map[int32]int64

func (o Offsets) set(topic string, partition int32, offset int64) {
	if o[topic] == nil {
		o[topic] = make(map[int32]int64)
	}
	o[topic][partition] = offset
}

// Sum adds up the offsets of a topic.
func (o Offsets) Sum(topic string) int64 {
	var n int64
	for _, offset := range o[topic] {
		n += offset
	}
	return n
}

// Committed is what a consumer group has committed: the offset that it reads
// next. Partitions without a commit are left out.
func (k *Kafka) Committed(ctx context.Context, group string) (Offsets, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = group
	req.Groups = append(req.Groups, one)
	resp, err := request[*kmsg.OffsetFetchResponse](ctx, k, req)
	if err != nil {
		return nil, err
	}
	committed := make(Offsets)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // it never was
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	for _, t := range resp.Topics { // brokers before 3.0, and so kgo's view of one group
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Offset >= 0 {
				committed.set(t.Topic, p.Partition, p.Offset)
			}
		}
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
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

// Members counts the members of a consumer group.
func (k *Kafka) Members(ctx context.Context, group string) (int, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = append(req.Groups, group)
	resp, err := request[*kmsg.DescribeGroupsResponse](ctx, k, req)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, g := range resp.Groups {
		err := kerr.ErrorForCode(g.ErrorCode)
		if errors.Is(err, kerr.GroupIDNotFound) { // nobody has ever joined
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("group %s: %w", group, err)
		}
		n += len(g.Members)
	}
	return n, nil
}

// SCRAM parameters of RFC 5802 and RFC 7677; Kafka's least number of rounds.
const (
	scramSHA512 = int8(2)
	scramRounds = 4096
	scramSalt   = 24
)

// SetPassword changes the user's password. The old one is refused from then on,
// and every connection made with it is broken.
func (k *Kafka) SetPassword(ctx context.Context, password string) error {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, u := range k.users() {
		if u.name == k.options.Username {
			u.password = password
		}
		one, err := scramUpsertion(u)
		if err != nil {
			return err
		}
		req.Upsertions = append(req.Upsertions, one)
	}
	resp, err := request[*kmsg.AlterUserSCRAMCredentialsResponse](ctx, k, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("change the password of %s: %w", r.User, err)
		}
	}
	k.mu.Lock()
	old := k.client
	k.client, k.password = nil, password
	k.mu.Unlock()
	old.Close()
	if err := k.broker.disconnect(ctx, k.users()[0].password); err != nil {
		return err
	}
	return k.ping(ctx)
}

func scramUpsertion(u account) (kmsg.AlterUserSCRAMCredentialsRequestUpsertion, error) {
	one := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	salt := make([]byte, scramSalt)
	if _, err := rand.Read(salt); err != nil {
		return one, err
	}
	salted, err := pbkdf2.Key(sha512.New, u.password, salt, scramRounds, sha512.Size)
	if err != nil {
		return one, err
	}
	one.Name, one.Mechanism, one.Iterations = u.name, scramSHA512, scramRounds
	one.Salt, one.SaltedPassword = salt, salted
	return one, nil
}
