package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	commitInterval     = time.Second
	statisticsInterval = time.Second
	remindInterval     = 30 * time.Second

	// pollWait bounds one poll, and slotWait the wait for a place in flight before
	// the partitions are paused. Both are far below max.poll.interval.ms (5
	// min), after which the group would drop this member.
	pollWait = 100 * time.Millisecond
	slotWait = time.Second

	// revokeWait is how long a partition that goes to another member waits for
	// its starts in flight; what is later is started again there and dropped.
	revokeWait = 3 * time.Second

	// drainWait is how long the end of a session waits for starts in flight. A stop
	// of the process may have a limit of its own.
	drainWait = 8 * time.Second

	// leaveWait is how long the last commit and leaving the group may take. It is
	// kept short, because a stop while the brokers are away would always take it.
	leaveWait = 4 * time.Second

	// refusalPatience is how long credentials must be refused at the start
	// before they are believed to be wrong: a broker that just started may not
	// know its users yet.
	refusalPatience = 5 * time.Second
)

type partitionKey struct {
	topic     string
	partition int32
}

// session is one consumer from its creation to its close.
type session struct {
	in         *Ingest
	connection Connection
	consumer   *kafka.Consumer

	mu       sync.Mutex // guards assigned; a start that ends asks nothing else
	assigned map[partitionKey]*offsets

	commits sync.Mutex // one commit at a time, or an older one could overtake

	waiting []*kafka.Message // consumed, without a place in flight yet
	paused  bool
	joined  bool // the group was joined once

	down         outage
	absent       absence
	refusedSince time.Time
	refusal      error
}

func (in *Ingest) newSession(connection Connection) (*session, error) {
	config := config(in.options, connection)
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("make the Kafka consumer: %w", err)
	}
	log := in.options.Log.With("brokers", connection.BootstrapServers, "topics", connection.Topics)
	return &session{
		in: in, connection: connection, consumer: consumer,
		assigned: make(map[partitionKey]*offsets),
		down:     outage{log: log},
		absent: absence{log: log, every: remindInterval, ask: func(ctx context.Context) ([]string, error) {
			return missingTopics(ctx, consumer, connection.Topics)
		}},
	}, nil
}

// run consumes until ctx ends (nil), or the brokers refuse the credentials.
func (s *session) run(ctx context.Context) error {
	if err := s.consumer.SubscribeTopics(s.connection.Topics, s.rebalance); err != nil {
		return errors.Join(fmt.Errorf("subscribe: %w", err), s.consumer.Close())
	}
	// A start in flight may go on while the session stops, up to drainWait.
	starting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	stopCommits, commitsStopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(commitsStopped)
		s.commitEvery(commitInterval, stopCommits)
	}()
	go s.forwardLogs()
	polling, stopLooking := context.WithCancel(ctx)
	err := s.consume(polling, starting)
	stopLooking()
	if ctx.Err() == nil {
		s.drain(drainWait)
	} else {
		s.drain(cmp.Or(s.in.options.DrainLimit, drainWait))
		if s.in.options.Drained != nil {
			s.in.options.Drained()
		}
	}
	close(stopCommits)
	s.leave(commitsStopped)
	return err
}

// forwardLogs keeps librdkafka's own log off standard error: what matters of
// it comes as an error too. It ends with the consumer.
func (s *session) forwardLogs() {
	for line := range s.consumer.Logs() {
		s.in.options.Log.Debug("librdkafka", "level", line.Level, "tag", line.Tag, "message", line.Message)
	}
}

// consume polls. It polls on while all starts are taken, or the group would
// drop this member.
func (s *session) consume(ctx, starting context.Context) error {
	for ctx.Err() == nil {
		switch e := s.consumer.Poll(int(pollWait / time.Millisecond)).(type) {
		case *kafka.Message:
			s.take(e)
		case kafka.Error:
			if err := s.heed(e); err != nil {
				return err
			}
		case *kafka.Stats:
			s.observe(ctx, e.String())
		}
		if err := s.checkRefusal(); err != nil {
			return err
		}
		s.startWaiting(ctx, starting)
	}
	return nil
}

// take notes a message as consumed, if its partition is still ours.
func (s *session) take(m *kafka.Message) {
	if m.TopicPartition.Error != nil {
		s.down.report(m.TopicPartition.Error)
		return
	}
	s.waiting = append(s.waiting, m)
}

// startWaiting starts what waits. When no place comes free it pauses the
// partitions, so that the next polls bring no more messages.
func (s *session) startWaiting(ctx, starting context.Context) {
	for len(s.waiting) > 0 {
		if !s.in.flight.enter() && (s.paused || !s.in.flight.enterWithin(ctx, slotWait)) {
			s.pause()
			return
		}
		m := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.start(starting, m)
	}
	if s.paused && s.in.flight.halfEmpty() {
		s.resume()
	}
}

// start hands a message that has a place in flight to Temporal.
func (s *session) start(ctx context.Context, m *kafka.Message) {
	o := s.offsetsOf(m.TopicPartition)
	if o == nil { // taken away since; its new owner has it
		s.in.flight.leave(true)
		return
	}
	mark := o.consumed(int64(m.TopicPartition.Offset))
	go func() {
		if s.in.starts.hand(ctx, m) == nil {
			o.settle(mark)
		}
	}()
}

func (s *session) pause() {
	if s.paused {
		return
	}
	if parts, err := s.consumer.Assignment(); err == nil && s.consumer.Pause(parts) == nil {
		s.paused = true
	}
}

func (s *session) resume() {
	if parts, err := s.consumer.Assignment(); err == nil && s.consumer.Resume(parts) == nil {
		s.paused = false
	}
}

// rebalance runs within a poll. Under a cooperative protocol, which KAFKA_OPTIONS
// may choose, it is told only of the partitions that come or go.
func (s *session) rebalance(c *kafka.Consumer, e kafka.Event) error {
	cooperative := c.GetRebalanceProtocol() == "COOPERATIVE"
	switch e := e.(type) {
	case kafka.AssignedPartitions:
		s.in.options.Log.Info("partitions assigned", "partitions", describe(e.Partitions))
		s.assign(e.Partitions)
		if err := assignTo(c, e.Partitions, cooperative); err != nil {
			return err
		}
		// librdkafka keeps a partition paused through a rebalance, and begins
		// new ones unpaused: all must be as s.paused says.
		if s.paused {
			return c.Pause(e.Partitions)
		}
		return c.Resume(e.Partitions)
	case kafka.RevokedPartitions:
		s.in.options.Log.Info("partitions revoked", "partitions", describe(e.Partitions))
		s.revoke(c, e.Partitions)
		if cooperative {
			return c.IncrementalUnassign(e.Partitions)
		}
		return c.Unassign()
	}
	return nil
}

func assignTo(c *kafka.Consumer, parts []kafka.TopicPartition, cooperative bool) error {
	if cooperative {
		return c.IncrementalAssign(parts)
	}
	return c.Assign(parts)
}

func (s *session) assign(parts []kafka.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.assigned[keyOf(p)] = &offsets{}
	}
}

// revoke gives partitions up: first their starts in flight get a while, then
// what Temporal holds of them is committed.
func (s *session) revoke(c *kafka.Consumer, parts []kafka.TopicPartition) {
	leaving := s.release(parts)
	// The next owner reads them again. Were it this session, they would come
	// before older messages, and a commit would skip those.
	s.waiting = slices.DeleteFunc(s.waiting, func(m *kafka.Message) bool {
		_, left := leaving[keyOf(m.TopicPartition)]
		return left
	})
	for key := range leaving {
		s.in.metrics.lag.DeleteLabelValues(key.topic, strconv.Itoa(int(key.partition)))
	}
	if c.AssignmentLost() { // others have them already
		return
	}
	awaitSettled(leaving, revokeWait)
	s.commits.Lock()
	defer s.commits.Unlock()
	s.commit(leaving)
}

// release takes partitions out of the assigned ones: no periodic commit touches
// them from here on.
func (s *session) release(parts []kafka.TopicPartition) map[partitionKey]*offsets {
	s.mu.Lock()
	defer s.mu.Unlock()
	leaving := make(map[partitionKey]*offsets, len(parts))
	for _, p := range parts {
		if o := s.assigned[keyOf(p)]; o != nil {
			leaving[keyOf(p)] = o
		}
		delete(s.assigned, keyOf(p))
	}
	return leaving
}

func awaitSettled(parts map[partitionKey]*offsets, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, o := range parts {
		select {
		case <-o.settled():
		case <-timer.C:
			return
		}
	}
}

func (s *session) offsetsOf(p kafka.TopicPartition) *offsets {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.assigned[keyOf(p)]
}

// all are the partitions assigned now.
func (s *session) all() map[partitionKey]*offsets {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[partitionKey]*offsets, len(s.assigned))
	for key, o := range s.assigned {
		all[key] = o
	}
	return all
}

func (s *session) commitEvery(interval time.Duration, stop <-chan struct{}) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.commitAssigned()
		}
	}
}

// commitAssigned asks what is assigned only when no other commit is on its way:
// a partition given up meanwhile is its next owner's to commit.
func (s *session) commitAssigned() {
	s.commits.Lock()
	defer s.commits.Unlock()
	s.commit(s.all())
}

// commit commits what Temporal holds of the partitions. What fails is tried
// again with the next commit. The caller holds s.commits.
func (s *session) commit(parts map[partitionKey]*offsets) {
	taken := make(map[partitionKey]*offsets)
	var list []kafka.TopicPartition
	for key, o := range parts {
		if next, ok := o.take(); ok {
			taken[key] = o
			list = append(list, kafka.TopicPartition{Topic: &key.topic, Partition: key.partition, Offset: kafka.Offset(next)})
		}
	}
	if len(list) == 0 {
		return
	}
	answers, err := s.consumer.CommitOffsets(list)
	if err != nil {
		s.in.options.Log.Warn("offsets were not committed; trying again", "error", err)
		for _, o := range taken {
			o.giveBack()
		}
		return
	}
	for _, answer := range answers {
		if answer.Error != nil {
			s.in.options.Log.Warn("an offset was not committed; trying again", "partition", describe([]kafka.TopicPartition{answer}), "error", answer.Error)
			if o := taken[keyOf(answer)]; o != nil {
				o.giveBack()
			}
		}
	}
}

// drain waits for the starts in flight.
func (s *session) drain(limit time.Duration) {
	s.waiting = nil // never started, never committed
	awaitSettled(s.all(), limit)
}

// leave commits what Temporal holds and leaves the group. A broker that is away
// must not hold up the stop.
func (s *session) leave(commitsStopped <-chan struct{}) {
	left := make(chan error, 1)
	go func() {
		<-commitsStopped
		s.absent.looking.Wait()
		s.commitAssigned()
		left <- s.consumer.Close()
	}()
	select {
	case err := <-left:
		if err != nil {
			s.in.options.Log.Warn("the consumer did not close cleanly", "error", err)
		}
	case <-time.After(leaveWait):
		s.in.options.Log.Warn("Kafka did not answer the last commit or the leave of the group in time: it gives the partitions to other members "+
			"after session.timeout.ms, and messages whose commit is missing are read again and found to be duplicates", "limit", leaveWait)
	}
}

func keyOf(p kafka.TopicPartition) partitionKey {
	return partitionKey{topic: *p.Topic, partition: p.Partition}
}

func describe(parts []kafka.TopicPartition) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = fmt.Sprintf("%s[%d]", *p.Topic, p.Partition)
	}
	return strings.Join(names, " ")
}
