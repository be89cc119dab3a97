package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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

	// refusalPatience is how long credentials must be refused before they are
	// believed to be wrong: a broker that just started may not know its users yet.
	refusalPatience = 5 * time.Second
)

// session is one consumer from its creation to its close.
type session struct {
	in         *Ingest
	connection Connection
	consumer   *kafka.Consumer
	admin      *kafka.AdminClient
	log        *slog.Logger
	lines      lines
	cluster    atomic.Pointer[string] // the cluster's id, once it is known

	mu       sync.Mutex // guards assigned; a start that ends asks nothing else
	assigned map[partitionKey]*partition

	commits   sync.Mutex // one commit at a time, or an older one could overtake
	unstamped bool       // the brokers take no metadata with an offset; guarded by commits

	// Everything below is used by the goroutine that polls alone.
	unplaced map[partitionKey]*unplaced
	replaced []*partition // whose starts may be in flight; no commit is theirs any more
	waiting  []arrival    // read, without a place in flight yet
	paused   bool
	joined   bool // the group was joined once, and something may be read

	tended  time.Time // when check and survey ran last
	surveys *surveys
	found   *survey // the last one that was answered

	missing, refusedTopics, stalls reminder

	heard       time.Time // Kafka gave something first
	connectedAt time.Time // a broker was connected last
	steadyAt    time.Time // the group was joined and a broker connected last

	refusal            error // of the credentials
	refusedSince       time.Time
	topicRefusal       error // of a topic, whose name librdkafka does not give
	fetchRefused       time.Time
	topicsRefusedSince time.Time

	fault   error // the last error that is neither of these nor of a connection
	faultAt time.Time
}

// arrival is a message that was read.
type arrival struct {
	message   *kafka.Message
	partition *partition
	mark      *mark
}

func (in *Ingest) newSession(connection Connection) (*session, error) {
	config := config(in.options.GroupID, connection)
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("make the Kafka consumer: %w", connection.redactError(err))
	}
	admin, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the Kafka client: %w", err), consumer.Close())
	}
	s := &session{
		in: in, connection: connection, consumer: consumer, admin: admin,
		log:      in.options.Log.With("brokers", connection.BootstrapServers, "topics", connection.Topics),
		assigned: make(map[partitionKey]*partition), unplaced: make(map[partitionKey]*unplaced),
		found: &survey{}, connectedAt: time.Now(),
	}
	s.surveys = newSurveys(s.askBrokers)
	return s, nil
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
	s.in.current.Store(s)
	defer s.in.current.CompareAndSwap(s, nil)
	polling, stopLooking := context.WithCancel(ctx)
	err := s.consume(polling, starting)
	stopLooking()
	if ctx.Err() == nil {
		s.drain(starting, drainWait)
	} else {
		s.drain(starting, cmp.Or(s.in.options.DrainLimit, drainWait))
		if s.in.options.OnDrained != nil {
			s.in.options.OnDrained()
		}
	}
	close(stopCommits)
	s.leave(commitsStopped)
	return err
}

// consume polls. It polls on while all starts are taken, or the group would
// drop this member.
func (s *session) consume(ctx, starting context.Context) error {
	for ctx.Err() == nil {
		if err := s.poll(); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(s.tended) >= pollWait { // not once for each message
			s.tended = now
			if err := s.check(now); err != nil {
				return err
			}
			s.survey(ctx, now)
		}
		s.startWaiting(ctx, starting)
	}
	return nil
}

// poll waits for one event of librdkafka and acts on it. It returns an error if the
// session must end.
func (s *session) poll() error {
	switch e := s.consumer.Poll(int(pollWait / time.Millisecond)).(type) {
	case *kafka.Message:
		if e.TopicPartition.Error != nil {
			return s.reportError(e.TopicPartition.Error)
		}
		s.receive(e)
	case kafka.PartitionEOF:
		if p := s.partitionOf(kafka.TopicPartition(e)); p != nil {
			s.reach(p, int64(e.Offset))
		}
	case kafka.Error:
		return s.reportError(e)
	case *kafka.Stats:
		return s.observe(e.String(), time.Now())
	}
	return nil
}

// check returns an error if the session must end.
func (s *session) check(now time.Time) error {
	if err := s.checkTopics(now); err != nil {
		return err
	}
	return s.checkAway(now)
}

// receive marks a message as read. It drops a message of a partition that is not
// placed yet, because Kafka gives it again from the right position.
func (s *session) receive(m *kafka.Message) {
	p := s.partitionOf(m.TopicPartition)
	if p == nil {
		return
	}
	offset, at := int64(m.TopicPartition.Offset), m.Timestamp
	if m.TimestampType == kafka.TimestampNotAvailable {
		at = time.Now()
	}
	if p = s.follow(p, offset); p == nil {
		return
	}
	p.expected = offset + 1
	s.joined = true
	s.waiting = append(s.waiting, arrival{m, p, p.offsets.read(offset, at)})
}

// reach marks the end of a partition as read.
func (s *session) reach(p *partition, end int64) {
	if p = s.follow(p, end); p == nil {
		return
	}
	p.expected = end
	p.offsets.reached(end)
}

// startWaiting starts what waits. When no place comes free it pauses the
// partitions, so that the next polls bring no more messages.
func (s *session) startWaiting(ctx, starting context.Context) {
	for len(s.waiting) > 0 {
		if !s.in.flight.enter() && (s.paused || !s.in.flight.enterWithin(ctx, slotWait)) {
			s.pause()
			return
		}
		a := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.start(starting, a)
	}
	if s.paused && s.in.flight.halfEmpty() {
		s.resume()
	}
}

// start hands a message that has a place in flight to Temporal.
func (s *session) start(ctx context.Context, a arrival) {
	a.partition.offsets.begin()
	go func() {
		if s.in.starts.hand(ctx, a.message) == nil {
			a.partition.offsets.settle(a.mark)
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

// resume resumes the partitions that are placed; the others are resumed when they
// are.
func (s *session) resume() {
	var parts []kafka.TopicPartition
	for _, p := range s.all() {
		parts = append(parts, p.key.at(0))
		p.behind = time.Time{}
	}
	if s.consumer.Resume(parts) == nil {
		s.paused = false
		s.wakeFetchers()
	}
}

// wakeFetchers lets a survey begin after partitions were resumed, because librdkafka
// would notice that only after up to 1 s. A request to their leaders wakes it.
func (s *session) wakeFetchers() { s.surveys.soon() }

// partitionOf is the partition that something of Kafka belongs to, nil if it is
// not ours or not placed.
func (s *session) partitionOf(p kafka.TopicPartition) *partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.assigned[keyOf(p)]
}

// drain waits for the starts in flight. What was never started is never
// committed, and so read again, unless it is of a topic that was made anew since:
// that is started now.
func (s *session) drain(starting context.Context, limit time.Duration) {
	until := time.Now().Add(limit)
	for _, a := range s.waiting {
		if slices.Contains(s.replaced, a.partition) && s.in.flight.enterWithin(starting, time.Until(until)) {
			s.start(starting, a)
		}
	}
	s.waiting = nil
	awaitSettled(append(s.all(), s.replaced...), time.Until(until))
	for _, p := range s.replaced {
		if n := p.offsets.unsettled(); n > 0 {
			s.log.Error("messages were read from a topic that was deleted or a log that was cut off, and Temporal did not accept them before the consumer was closed; "+
				"those that Kafka no longer has are lost", "topic", p.key.topic, "partition", p.key.partition, "messages", n)
		}
	}
}

// leave commits what Temporal holds and leaves the group. A broker that is away
// must not hold up the stop.
func (s *session) leave(commitsStopped <-chan struct{}) {
	left := make(chan error, 1)
	go func() {
		<-commitsStopped
		s.surveys.running.Wait()
		s.commitAssigned()
		s.admin.Close()
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
