package devstack_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

const (
	topic      = "events"
	group      = "readers"
	partitions = 3
)

func startKafka(t *testing.T) *devstack.Kafka {
	t.Helper()
	k, err := devstack.StartKafka(deadline(t), devstack.KafkaOptions{
		Dir:    t.TempDir(),
		Topics: map[string]int32{topic: partitions},
	})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	return k
}

// consumer makes a consumer of librdkafka, as ingest does.
func consumer(t *testing.T, k *devstack.Kafka, password string) *kafka.Consumer {
	t.Helper()
	c, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers":                  k.Bootstrap(),
		"security.protocol":                  "SASL_SSL",
		"sasl.mechanism":                     "SCRAM-SHA-512",
		"sasl.username":                      k.Username(),
		"sasl.password":                      password,
		"ssl.ca.location":                    k.CAFile(),
		"group.id":                           group,
		"auto.offset.reset":                  "earliest",
		"enable.auto.commit":                 false,
		"enable.auto.offset.store":           false,
		"reconnect.backoff.max.ms":           500,
		"topic.metadata.refresh.interval.ms": 500,
		"session.timeout.ms":                 10_000,
		"log_level":                          0,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() }) // a test may have closed it
	return c
}

// next polls until pick accepts an event, and returns what pick made of it.
func next[T any](ctx context.Context, t *testing.T, c *kafka.Consumer, pick func(kafka.Event) (T, bool)) T {
	t.Helper()
	for {
		require.NoError(t, ctx.Err(), "no such event came from Kafka")
		if event := c.Poll(100); event != nil {
			if picked, ok := pick(event); ok {
				return picked
			}
		}
	}
}

func message(e kafka.Event) (*kafka.Message, bool) {
	m, ok := e.(*kafka.Message)
	return m, ok
}

func authenticationError(e kafka.Event) (kafka.Error, bool) {
	err, ok := e.(kafka.Error)
	return err, ok && err.Code() == kafka.ErrAuthentication
}

func TestKafka_ServesLibrdkafka(t *testing.T) {
	ctx, k := deadline(t), startKafka(t)
	for i := range partitions {
		require.NoError(t, k.Produce(ctx, topic, int32(i), []byte("k"), fmt.Appendf(nil, "event %d", i)))
	}
	require.NoError(t, k.Produce(ctx, topic, devstack.AnyPartition, nil, []byte("event 3")))
	c := consumer(t, k, k.Password())
	require.NoError(t, c.Subscribe(topic, nil))
	seen := map[string]int32{}
	for range partitions + 1 {
		m := next(ctx, t, c, message)
		seen[string(m.Value)] = m.TopicPartition.Partition
		_, err := c.CommitMessage(m)
		require.NoError(t, err)
	}
	for i := range partitions {
		assert.Equal(t, int32(i), seen[fmt.Sprintf("event %d", i)])
	}
	assert.Contains(t, seen, "event 3")

	committed, err := k.Committed(ctx, group)
	require.NoError(t, err)
	assert.Len(t, committed[topic], partitions)
	assert.EqualValues(t, partitions+1, committed.Sum(topic))
	members, err := k.Members(ctx, group)
	require.NoError(t, err)
	assert.Equal(t, 1, members)
}

func TestKafka_RejectsAWrongPassword(t *testing.T) {
	ctx, k := deadline(t), startKafka(t)
	c := consumer(t, k, "not "+k.Password())
	require.NoError(t, c.Subscribe(topic, nil))
	assert.Equal(t, kafka.ErrAuthentication, next(ctx, t, c, authenticationError).Code())
}

func TestKafka_RebalancesAGroup(t *testing.T) {
	ctx, k := deadline(t), startKafka(t)
	first, second := consumer(t, k, k.Password()), consumer(t, k, k.Password())
	require.NoError(t, first.Subscribe(topic, nil))
	awaitShares(ctx, t, []int{partitions}, first)
	require.NoError(t, second.Subscribe(topic, nil))
	awaitShares(ctx, t, []int{1, 2}, first, second)
	require.NoError(t, first.Close())
	awaitShares(ctx, t, []int{partitions}, second)
}

// awaitShares polls all consumers until the numbers of their partitions are want, in ascending order.
func awaitShares(ctx context.Context, t *testing.T, want []int, consumers ...*kafka.Consumer) {
	t.Helper()
	for {
		var shares []int
		for _, c := range consumers {
			c.Poll(20)
			assigned, err := c.Assignment()
			require.NoError(t, err)
			shares = append(shares, len(assigned))
		}
		slices.Sort(shares)
		if slices.Equal(want, shares) {
			return
		}
		require.NoError(t, ctx.Err(), "the consumers have %v partitions, want %v", shares, want)
	}
}

func TestKafka_KeepsItsDataInAnOutage(t *testing.T) {
	ctx, k := deadline(t), startKafka(t)
	c := consumer(t, k, k.Password())
	require.NoError(t, c.Subscribe(topic, nil))
	require.NoError(t, k.Produce(ctx, topic, 0, nil, []byte("before")))
	first := next(ctx, t, c, message)
	_, err := c.CommitMessage(first)
	require.NoError(t, err)
	address := k.Bootstrap()

	k.Stop()
	next(ctx, t, c, func(e kafka.Event) (struct{}, bool) {
		err, ok := e.(kafka.Error)
		return struct{}{}, ok && (err.Code() == kafka.ErrAllBrokersDown || err.Code() == kafka.ErrTransport)
	})
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	require.Error(t, k.Produce(short, topic, 0, nil, []byte("lost")))

	require.NoError(t, k.Start(ctx))
	assert.Equal(t, address, k.Bootstrap())
	require.NoError(t, k.Produce(ctx, topic, 0, nil, []byte("after")))
	assert.Equal(t, "after", string(next(ctx, t, c, message).Value))
	committed, err := k.Committed(ctx, group)
	require.NoError(t, err)
	assert.EqualValues(t, 1, committed[topic][0])
}

func TestKafka_SetPasswordBreaksConnectionsAndRejectsTheOldPassword(t *testing.T) {
	ctx, k := deadline(t), startKafka(t)
	old := k.Password()
	c := consumer(t, k, old)
	require.NoError(t, c.Subscribe(topic, nil))
	require.NoError(t, k.Produce(ctx, topic, 0, nil, []byte("before")))
	next(ctx, t, c, message)

	require.NoError(t, k.SetPassword(ctx, "rotated"))
	assert.Equal(t, "rotated", k.Password())
	assert.Equal(t, kafka.ErrAuthentication, next(ctx, t, c, authenticationError).Code()) // on a new connection, because the old one was broken
	require.NoError(t, c.Close())

	require.NoError(t, k.Produce(ctx, topic, 0, nil, []byte("after")))
	fresh := consumer(t, k, "rotated")
	require.NoError(t, fresh.Subscribe(topic, nil))
	values := []string{string(next(ctx, t, fresh, message).Value), string(next(ctx, t, fresh, message).Value)}
	assert.Equal(t, []string{"before", "after"}, values)

	k.Stop()
	require.NoError(t, k.Start(ctx)) // the new password survives an outage
	require.NoError(t, k.Produce(ctx, topic, 0, nil, []byte("again")))
}

func TestKafka_DenyReadAndAllowRead(t *testing.T) {
	ctx := deadline(t)
	k, err := devstack.StartKafka(ctx, devstack.KafkaOptions{Dir: t.TempDir(), Topics: map[string]int32{topic: 1}, ACLs: true})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	require.NoError(t, k.Produce(ctx, topic, 0, nil, []byte("a message")))
	require.NoError(t, k.DenyRead(ctx, topic))
	c := consumer(t, k, k.Password())
	require.NoError(t, c.Subscribe(topic, nil))
	next(ctx, t, c, func(e kafka.Event) (struct{}, bool) {
		err, ok := e.(kafka.Error)
		return struct{}{}, ok && err.Code() == kafka.ErrTopicAuthorizationFailed
	})
	require.NoError(t, k.AllowRead(ctx, topic))
	assert.Equal(t, "a message", string(next(ctx, t, c, message).Value))
}

func TestKafka_DoesNotCreateTopicsByItself(t *testing.T) {
	ctx, k := deadline(t), startKafka(t)
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	require.Error(t, k.Produce(short, "unknown", devstack.AnyPartition, nil, []byte("x")))
}
