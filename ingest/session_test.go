package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.temporal.io/api/serviceerror"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/target"
)

const (
	topic = "events"
	group = "ingest-test"

	tick = 50 * time.Millisecond
)

// temporal stands in for a Temporal server. It stores accepted starts by event, and can block
// or reject starts.
type temporal struct {
	mu       sync.Mutex
	accepted map[string]fanout.Input
	tries    map[string]int
	reject   error                    // of every start
	blocked  map[string]chan struct{} // closed to release an event's start
	open     int
	most     int // starts open at once
}

func newTemporal() *temporal {
	return &temporal{accepted: map[string]fanout.Input{}, tries: map[string]int{}, blocked: map[string]chan struct{}{}}
}

func (s *temporal) Start(ctx context.Context, in fanout.Input) (bool, error) {
	s.mu.Lock()
	s.tries[in.Event.ID]++
	s.open++
	s.most = max(s.most, s.open)
	released := s.blocked[in.Event.ID]
	s.mu.Unlock()
	if released != nil {
		select {
		case <-released:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if s.reject != nil {
		return false, s.reject
	}
	_, duplicate := s.accepted[in.Event.ID]
	if !duplicate {
		s.accepted[in.Event.ID] = in
	}
	return !duplicate, nil
}

// block makes the starts of events wait until the returned function is called.
func (s *temporal) block(ids ...string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	released := make(chan struct{})
	for _, id := range ids {
		s.blocked[id] = released
	}
	return sync.OnceFunc(func() { close(released) })
}

// rejectWith makes the server reject every start with an error; nil ends that.
func (s *temporal) rejectWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reject = err
}

func (s *temporal) acceptedCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// tried returns how often the start of an event was tried.
func (s *temporal) tried(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries[id]
}

// openNow returns how many starts are in flight now, and the most there were at once.
func (s *temporal) openNow() (now, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.most
}

func startKafka(t *testing.T, topics map[string]int32) *devstack.Kafka {
	t.Helper()
	kafka, err := devstack.StartKafka(t.Context(), devstack.KafkaOptions{Dir: t.TempDir(), Topics: topics, Backend: devstack.BackendKfake})
	require.NoError(t, err)
	t.Cleanup(kafka.Close)
	return kafka
}

// extra adds librdkafka settings to whatever connection the options give.
func extra(settings map[string]string) func(*Options) {
	return func(o *Options) {
		connect := o.Connect
		o.Connect = func(ctx context.Context) (Connection, error) {
			connection, err := connect(ctx)
			connection.Extra = settings
			return connection, err
		}
	}
}

// topics replaces the topics of whatever connection the options give.
func topics(names ...string) func(*Options) {
	return func(o *Options) {
		connect := o.Connect
		o.Connect = func(ctx context.Context) (Connection, error) {
			connection, err := connect(ctx)
			connection.Topics = names
			return connection, err
		}
	}
}

func connectionTo(kafka *devstack.Kafka) Connection {
	return Connection{
		BootstrapServers: kafka.Bootstrap(), SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512",
		SASLUsername: kafka.Username(), SASLPassword: kafka.Password(), CALocation: kafka.CAFile(), Topics: []string{topic},
	}
}

// member is one running Ingest.
type member struct {
	health *healthMap
	log    *logLines
	stop   context.CancelFunc
	ended  chan error
}

func oneTarget(t *testing.T) *target.Set {
	t.Helper()
	targets, err := target.Parse("targets.yaml", []byte(`
targets:
  - name: a
    url: http://127.0.0.1:1
`), nil)
	require.NoError(t, err)
	return targets
}

// run starts an Ingest; it is stopped when the test ends.
func run(t *testing.T, kafka *devstack.Kafka, starter Starter, change func(*Options)) *member {
	t.Helper()
	m := &member{health: newHealth(), log: &logLines{}, ended: make(chan error, 1)}
	options := Options{
		Connect: func(context.Context) (Connection, error) { return connectionTo(kafka), nil },
		GroupID: group, Reset: "earliest", Targets: oneTarget(t), Starter: starter, MaxStarts: 32,
		Health: m.health, Log: slog.New(slog.NewTextHandler(m.log, nil)),
	}
	if change != nil {
		change(&options)
	}
	if server, ok := starter.(*temporal); ok {
		await.Watch(t, "started", func() any { return server.acceptedCount() })
	}
	in, err := New(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.ended <- in.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Log(m.log.text())
		}
	})
	return m
}

func (c *logLines) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "")
}

func (m *member) ready() bool { return m.health.of(CheckKafka) == nil }

func (m *member) end(t *testing.T) error {
	t.Helper()
	return await.Receive(t, "the end of ingest", m.ended)
}

func wait(t *testing.T, condition func() bool, what string) {
	t.Helper()
	await.True(t, what, condition)
}

func id(n int) string { return fmt.Sprintf("evt-%d", n) }

// produce writes events numbered from..to-1 to one partition.
func produce(t *testing.T, kafka *devstack.Kafka, partition int32, from, to int) {
	t.Helper()
	messages := make([]devstack.Message, 0, to-from)
	for n := from; n < to; n++ {
		messages = append(messages, devstack.Message{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, `{"event_id":%q}`, id(n))})
	}
	require.NoError(t, kafka.ProduceAll(t.Context(), messages...))
}

// committed returns the offset that the group has committed of a partition, or -1. The error of
// a broker that knows no such group yet, or that is away, counts as no commit, because
// conditions call this function and may not end the test.
func committed(t *testing.T, kafka *devstack.Kafka, partition int32) int64 {
	t.Helper()
	offsets, err := kafka.Committed(t.Context(), group)
	if offset, ok := offsets[topic][partition]; ok && err == nil {
		return offset
	}
	return -1
}

// A start that takes long holds up the commits of all later messages.
func TestIngest_CommitsOnlyAfterTemporalAccepted(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	release := server.block(id(3))
	defer release()
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 10)
	wait(t, func() bool { return server.acceptedCount() == 9 }, "all but the one that waits")
	wait(t, func() bool { return committed(t, kafka, 0) == 3 }, "the prefix before it")
	// A later commit shows that nothing past it was committed meanwhile.
	require.Never(t, func() bool { return committed(t, kafka, 0) != 3 }, 2*commitInterval, tick)
	release()
	wait(t, func() bool { return committed(t, kafka, 0) == 10 }, "the whole")
	m.stop()
	require.NoError(t, m.end(t))
}

func TestIngest_CommitsNothingWhileTemporalRejectsStarts(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	server.rejectWith(serviceerror.NewUnavailable("away"))
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return server.tried(id(4)) > 5 }, "it is tried again") // 3.1 s
	require.Error(t, m.health.of(CheckStarts))
	assert.LessOrEqual(t, committed(t, kafka, 0), int64(0))
	server.rejectWith(nil)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 && m.health.of(CheckStarts) == nil }, "Temporal is back")
	assert.Equal(t, 1, strings.Count(m.log.text(), "waiting for Temporal"), "one line for all")
}

// ingest keeps polling for longer than the group would wait for a poll, and reads no more
// messages.
func TestIngest_StaysInTheGroupWhileNoSlotIsFree(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	const events, slots = 200, 4
	ids := make([]string, events)
	for n := range ids {
		ids[n] = id(n)
	}
	release := server.block(ids...)
	defer release()
	const poll = 6 * time.Second
	m := run(t, kafka, server, func(o *Options) {
		o.MaxStarts = slots
		extra(map[string]string{"max.poll.interval.ms": "6000", "session.timeout.ms": "6000"})(o)
	})
	produce(t, kafka, 0, 0, events)
	wait(t, func() bool { now, _ := server.openNow(); return now == slots }, "no slot is free")
	require.Never(t, func() bool {
		now, _ := server.openNow()
		return now != slots || strings.Contains(m.log.text(), "revoked")
	}, poll+2*time.Second, tick)
	assert.LessOrEqual(t, committed(t, kafka, 0), int64(0), "nothing is committed that Temporal has not accepted")
	members, err := kafka.Members(t.Context(), group)
	require.NoError(t, err)
	assert.Equal(t, 1, members)
	release()
	wait(t, func() bool { return committed(t, kafka, 0) == events }, "all of it")
	_, most := server.openNow()
	assert.Equal(t, slots, most)
	for _, id := range ids {
		assert.Equal(t, 1, server.tried(id), "no message was read twice")
	}
}

// A second member gets a partition while starts of the first member are in flight. No message
// is lost, and none is committed too early.
func TestIngest_RebalancesWhileStartsAreInFlight(t *testing.T) {
	for _, strategy := range []string{"range", "cooperative-sticky"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			const each = 200
			kafka, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
			release := server.block(id(7), id(each+7)) // longer than a revocation waits
			defer release()
			choose := extra(map[string]string{"partition.assignment.strategy": strategy})
			first := run(t, kafka, server, choose)
			produce(t, kafka, 0, 0, each)
			produce(t, kafka, 1, each, 2*each)
			wait(t, func() bool { return server.acceptedCount() == 2*each-2 }, "all but two")
			second := run(t, kafka, server, choose)
			wait(t, func() bool {
				return strings.Contains(second.log.text(), "partitions assigned") && second.ready() && first.ready()
			}, "shared")
			wait(t, func() bool { return strings.Contains(second.log.text(), topic+"[") }, "a partition moved")
			assert.EqualValues(t, 7, committed(t, kafka, 0))
			assert.EqualValues(t, 7, committed(t, kafka, 1))
			release()
			wait(t, func() bool { return committed(t, kafka, 0) == each && committed(t, kafka, 1) == each }, "both")
			produce(t, kafka, 0, 2*each, 3*each)
			produce(t, kafka, 1, 3*each, 4*each)
			wait(t, func() bool { return committed(t, kafka, 0) == 2*each && committed(t, kafka, 1) == 2*each }, "both again")
			assert.Equal(t, 4*each, server.acceptedCount())
			first.stop()
			require.NoError(t, first.end(t))
			produce(t, kafka, 0, 4*each, 5*each)
			produce(t, kafka, 1, 5*each, 6*each)
			wait(t, func() bool { return committed(t, kafka, 0) == 3*each && committed(t, kafka, 1) == 3*each }, "the second alone")
			assert.Equal(t, 6*each, server.acceptedCount())
		})
	}
}

// Messages that wait for a free slot are not lost if their partition stays, and not started
// out of order if it moves.
func TestIngest_RebalancesWhileNoSlotIsFree(t *testing.T) {
	for _, strategy := range []string{"range", "cooperative-sticky"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			const each = 100
			kafka, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
			ids := make([]string, 2*each)
			for n := range ids {
				ids[n] = id(n)
			}
			release := server.block(ids...)
			defer release()
			change := func(o *Options) {
				o.MaxStarts = 2
				extra(map[string]string{"partition.assignment.strategy": strategy})(o)
			}
			produce(t, kafka, 0, 0, each)
			produce(t, kafka, 1, each, 2*each)
			first := run(t, kafka, server, change)
			wait(t, func() bool { now, _ := server.openNow(); return now == 2 }, "the first is full")
			second := run(t, kafka, server, change)
			wait(t, func() bool { return strings.Contains(second.log.text(), topic+"[") }, "a partition moved")
			wait(t, func() bool { now, _ := server.openNow(); return now == 4 }, "the second is full")
			release()
			wait(t, func() bool { return committed(t, kafka, 0) == each && committed(t, kafka, 1) == each }, "both")
			assert.Equal(t, 2*each, server.acceptedCount())

			// A partition that was paused when it moved comes back unpaused.
			second.stop()
			require.NoError(t, second.end(t))
			produce(t, kafka, 0, 2*each, 3*each)
			produce(t, kafka, 1, 3*each, 4*each)
			wait(t, func() bool { return committed(t, kafka, 0) == 2*each && committed(t, kafka, 1) == 2*each }, "the first alone")
			assert.True(t, first.ready())
		})
	}
}

// Messages that are started during a rebalance are committed before their partition moves, so
// that nobody reads them again.
func TestIngest_CommitsBeforeAPartitionIsRevoked(t *testing.T) {
	t.Parallel()
	const each = 20
	kafka, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
	release := server.block(id(7), id(each+7))
	defer release()
	first := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, each)
	produce(t, kafka, 1, each, 2*each)
	wait(t, func() bool { return committed(t, kafka, 0) == 7 && committed(t, kafka, 1) == 7 }, "the prefixes")
	wait(t, func() bool { return server.acceptedCount() == 2*each-2 }, "all but two")
	run(t, kafka, server, nil)
	wait(t, func() bool { return strings.Contains(first.log.text(), "partitions revoked") }, "a rebalance begins")
	release()
	wait(t, func() bool { return committed(t, kafka, 0) == each && committed(t, kafka, 1) == each }, "both")
	for n := range 2 * each {
		assert.Equal(t, 1, server.tried(id(n)), "%s was read twice", id(n))
	}
}

// Then ingest leaves the group.
func TestIngest_StopWaitsForStartsAndCommitsThem(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	release := server.block(id(0))
	defer release()
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 10)
	wait(t, func() bool { return server.acceptedCount() == 9 }, "all but the first")
	m.stop()
	defer time.AfterFunc(revokeWait+2*time.Second, release).Stop() // later than a revocation waits
	require.NoError(t, m.end(t))
	assert.EqualValues(t, 10, committed(t, kafka, 0))
	members, err := kafka.Members(t.Context(), group)
	require.NoError(t, err)
	assert.Zero(t, members)
}

func TestIngest_EndsIfCredentialsAreRejectedAtTheStart(t *testing.T) {
	t.Parallel()
	kafka := startKafka(t, map[string]int32{topic: 1})
	began := time.Now()
	m := run(t, kafka, newTemporal(), func(o *Options) {
		o.Connect = func(context.Context) (Connection, error) {
			c := connectionTo(kafka)
			c.SASLPassword = "wrong-password"
			return c, nil
		}
	})
	err := m.end(t)
	var rejected *CredentialsError
	require.ErrorAs(t, err, &rejected)
	assert.Less(t, time.Since(began), 20*time.Second)
	for _, part := range []string{kafka.Bootstrap(), kafka.Username(), "SCRAM-SHA-512", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "port"} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error()+m.log.text(), "wrong-password")
}

func TestIngest_WaitsForBrokersThatAreAway(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	kafka.Stop()
	m := run(t, kafka, server, nil)
	wait(t, func() bool { return strings.Contains(m.log.text(), "waiting for Kafka") }, "the log line")
	assert.False(t, m.ready())
	require.NoError(t, kafka.Start(t.Context()))
	wait(t, m.ready, "ready when they are there")
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "consumes")

	kafka.Stop()
	lost := time.Now()
	wait(t, func() bool { return !m.ready() }, "not ready when they are lost")
	assert.Less(t, time.Since(lost), 20*time.Second)
	require.NoError(t, kafka.Start(t.Context()))
	wait(t, m.ready, "ready again")
	produce(t, kafka, 0, 5, 10)
	wait(t, func() bool { return committed(t, kafka, 0) == 10 }, "continues by itself")
}

// ingest calls Connect again until the connection works, although Connect fails or returns the
// old password at first.
func TestIngest_ReadsRotatedCredentials(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	old := connectionTo(kafka)
	var mu sync.Mutex
	asked := 0
	m := run(t, kafka, server, func(o *Options) {
		o.Connect = func(context.Context) (Connection, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			switch asked {
			case 1, 3:
				return old, nil
			case 2:
				return Connection{}, fmt.Errorf("the Genesys API is away")
			}
			return connectionTo(kafka), nil
		}
	})
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "the old password")
	require.NoError(t, kafka.SetPassword(t.Context(), "new-password"))
	produce(t, kafka, 0, 5, 10)
	wait(t, func() bool { return committed(t, kafka, 0) == 10 && m.ready() }, "the new one")
	mu.Lock()
	defer mu.Unlock()
	assert.GreaterOrEqual(t, asked, 4)
	assert.NotContains(t, m.log.text(), "new-password")
}

func TestIngest_WaitsForATopicThatDoesNotExist(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, nil), newTemporal()
	m := run(t, kafka, server, extra(map[string]string{"topic.metadata.refresh.interval.ms": "1000"}))
	wait(t, func() bool { return strings.Contains(m.log.text(), "KAFKA_TOPIC") }, "the log names the cure")
	assert.False(t, m.ready())
	require.NoError(t, kafka.CreateTopic(t.Context(), topic, 1))
	produce(t, kafka, 0, 0, 3)
	wait(t, func() bool { return committed(t, kafka, 0) == 3 && m.ready() }, "found")
}

func TestIngest_NoMessageBlocksAPartition(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	m := run(t, kafka, poisoned{server}, func(o *Options) { o.SearchAttributes = func() bool { return true } })
	values := []string{`{"event_id":"before"}`, "", "{", "\xff\xfe", `{"event_id":"poison"}`, `{"event_id":"after"}`}
	for _, value := range values {
		require.NoError(t, kafka.Produce(t.Context(), topic, 0, nil, []byte(value)))
	}
	wait(t, func() bool { return committed(t, kafka, 0) == int64(len(values)) }, "all")
	reasons := map[event.Reason]int{}
	server.mu.Lock()
	defer server.mu.Unlock()
	for _, in := range server.accepted {
		if in.Undeliverable != nil {
			reasons[in.Undeliverable.Reason]++
		}
	}
	assert.Equal(t, map[event.Reason]int{event.ReasonUndecodable: 3, event.ReasonOversize: 1}, reasons)
	assert.Len(t, server.accepted, len(values))
	assert.Nil(t, server.accepted["after"].Undeliverable)
	assert.NoError(t, m.health.of(CheckStarts))
}

// poisoned rejects the content of one event.
type poisoned struct{ Starter }

func (p poisoned) Start(ctx context.Context, in fanout.Input) (bool, error) {
	if in.Event.ID == "poison" && len(in.Body) > 0 {
		return false, &fanout.ContentError{Err: serviceerror.NewInvalidArgument("not this")}
	}
	return p.Starter.Start(ctx, in)
}

// reject makes the broker answer requests with an error until the returned function is called.
// hits returns how many requests it rejected.
func reject(t *testing.T, kafka *devstack.Kafka, fault kfake.Fault) (hits func() int, end func()) {
	t.Helper()
	fault.Count = -1
	handle, err := kafka.Fault(fault)
	require.NoError(t, err)
	return handle.Hits, handle.Remove
}
