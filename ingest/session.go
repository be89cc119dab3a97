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

	"genesys-fanout/internal/outage"
	"genesys-fanout/internal/redact"
)

const (
	commitInterval     = time.Second
	statisticsInterval = time.Second

	// pollWait bounds one poll, and slotWait the wait for a free slot before the partitions
	// are paused. Both are far below max.poll.interval.ms (5 min), after which the group
	// removes this member.
	pollWait = 100 * time.Millisecond
	slotWait = time.Second

	// revokeWait is how long a partition that moves to another member waits for its starts
	// in flight. The next owner starts the messages of later ones again, and finds them to
	// be duplicates.
	revokeWait = 3 * time.Second

	// drainWait is how long the end of a session waits for starts in flight. A stop of the
	// process may have a limit of its own.
	drainWait = 8 * time.Second

	// leaveWait is how long the last commit and leaving the group may take. It is short,
	// because a stop takes all of it while the brokers do not answer.
	leaveWait = 4 * time.Second

	// rejectionPatience is how long brokers must reject the credentials before the
	// credentials count as wrong: a broker that has just started may not know its users yet.
	rejectionPatience = 5 * time.Second
)

// session is one Kafka consumer from its creation to its close.
type session struct {
	ingest     *Ingest
	connection Connection
	redactor   redact.Redactor // of the secrets of the connection
	consumer   *kafka.Consumer
	admin      *kafka.AdminClient
	log        *slog.Logger
	logLimit   lineLimiter
	cluster    atomic.Pointer[string] // the cluster's id, once it is known

	mu       sync.Mutex // guards assigned
	assigned map[partitionKey]*partition

	// commitLock allows one commit at a time, because an older one could overwrite a newer
	// one.
	commitLock       sync.Mutex
	metadataTooLarge bool // the brokers accept no metadata with an offset; guarded by commitLock

	// Only the goroutine that polls uses the fields below.

	unpositioned map[partitionKey]*unpositioned
	replaced     []*partition     // their starts may be in flight, but they are not committed any more
	waiting      []waitingMessage // read, and not in flight yet, in order
	paused       bool
	// established: the group was joined once, and this member has read something or has nothing
	// to read (canRead).
	established bool

	checkedAt time.Time // when the checks and surveys ran last
	surveys   *surveys
	found     *survey // the last one that was answered

	missing, unreadable, stalls *outage.Outage

	firstFetch  time.Time // when Kafka first returned something
	connectedAt time.Time // when a broker was connected last
	steadyAt    time.Time // when the group was joined and a broker connected last

	rejection       error // why the brokers rejected the credentials
	rejectedSince   time.Time
	fetchErr        error // of a denied fetch; librdkafka does not name its topic
	fetchDeniedAt   time.Time
	unreadableSince time.Time // since when no topic may be read

	// otherErr is the last error that is neither one of these nor of a connection.
	otherErr   error
	otherErrAt time.Time
}

// waitingMessage is a message that was read and is not in flight yet.
type waitingMessage struct {
	message   *kafka.Message
	partition *partition
	pending   *pendingMessage
}

func (i *Ingest) newSession(connection Connection) (*session, error) {
	config := ConsumerConfig(i.options.GroupID, connection)
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("create the Kafka consumer: %w", connection.RedactError(err))
	}
	admin, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create the Kafka admin client: %w", err), consumer.Close())
	}
	s := &session{
		ingest: i, connection: connection, redactor: connection.redactor(), consumer: consumer, admin: admin,
		log:      i.options.Log.With("brokers", connection.BootstrapServers, "topics", connection.Topics),
		assigned: make(map[partitionKey]*partition), unpositioned: make(map[partitionKey]*unpositioned),
		found: &survey{}, connectedAt: time.Now(),
	}
	s.surveys = newSurveys(s.askBrokers)
	s.missing, s.unreadable, s.stalls = s.newMissingTopicsOutage(), s.newUnreadableTopicsOutage(), s.newStallsOutage()
	i.group.log = s.log
	return s, nil
}

// run consumes until ctx ends, and returns nil then. It returns an error if the session must
// end for another reason, such as rejected credentials.
func (s *session) run(ctx context.Context) error {
	if err := s.consumer.SubscribeTopics(s.connection.Topics, s.rebalance); err != nil {
		return errors.Join(fmt.Errorf("subscribe: %w", err), s.consumer.Close())
	}
	// Starts in flight may continue while the session stops, up to drainWait.
	startCtx, cancelStarts := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelStarts()

	stopCommits, commitsStopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(commitsStopped)
		s.commitPeriodically(commitInterval, stopCommits)
	}()
	go s.forwardLogs()
	s.ingest.current.Store(s)
	defer s.ingest.current.CompareAndSwap(s, nil)
	pollCtx, cancelSurveys := context.WithCancel(ctx)
	err := s.consume(pollCtx, startCtx)
	cancelSurveys()
	if ctx.Err() == nil {
		s.drain(startCtx, drainWait)
	} else {
		s.drain(startCtx, cmp.Or(s.ingest.options.DrainLimit, drainWait))
		if s.ingest.options.OnDrained != nil {
			s.ingest.options.OnDrained()
		}
	}
	close(stopCommits)
	s.close(commitsStopped)
	return err
}

// consume polls until ctx ends. It keeps polling while no slot is free, because the group
// would otherwise remove this member.
func (s *session) consume(ctx, startCtx context.Context) error {
	for ctx.Err() == nil {
		if err := s.poll(); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(s.checkedAt) >= pollWait { // not once for each message
			s.checkedAt = now
			if err := s.checkTopics(now); err != nil {
				return err
			}
			if err := s.checkConnected(now); err != nil {
				return err
			}
			s.runSurveys(ctx, now)
		}
		s.startWaiting(ctx, startCtx)
	}
	return nil
}

// poll waits for one event of librdkafka and acts on it. It returns an error if the session
// must end.
func (s *session) poll() error {
	switch e := s.consumer.Poll(int(pollWait / time.Millisecond)).(type) {
	case *kafka.Message:
		if e.TopicPartition.Error != nil {
			return s.handleError(e.TopicPartition.Error)
		}
		s.handleMessage(e)
	case kafka.PartitionEOF:
		s.handlePartitionEnd(kafka.TopicPartition(e))
	case kafka.Error:
		return s.handleError(e)
	case *kafka.Stats:
		return s.handleStatistics(e.String(), time.Now())
	}
	return nil
}

// handleMessage records a message as read. It drops a message of a partition that is not
// positioned yet, because Kafka returns it again from the right position.
func (s *session) handleMessage(m *kafka.Message) {
	p := s.partitionOf(m.TopicPartition)
	if p == nil {
		return
	}
	offset, written := int64(m.TopicPartition.Offset), m.Timestamp
	if m.TimestampType == kafka.TimestampNotAvailable {
		written = time.Now()
	}
	if p = s.reconcilePosition(p, offset); p == nil {
		return
	}
	p.position = offset + 1
	s.established = true
	s.waiting = append(s.waiting, waitingMessage{m, p, p.offsets.addMessage(offset, written)})
}

// handlePartitionEnd records that every message of a partition was read.
func (s *session) handlePartitionEnd(end kafka.TopicPartition) {
	p := s.partitionOf(end)
	if p == nil {
		return
	}
	offset := int64(end.Offset)
	if p = s.reconcilePosition(p, offset); p == nil {
		return
	}
	p.position = offset
	p.offsets.recordPosition(offset)
}

// startWaiting starts the waiting messages. If no slot becomes free, it pauses the
// partitions, so that the next polls return no more messages.
func (s *session) startWaiting(ctx, startCtx context.Context) {
	for len(s.waiting) > 0 {
		wait := slotWait
		if s.paused {
			wait = 0
		}
		if !s.tryStart(ctx, startCtx, s.waiting[0], wait) {
			s.pause()
			return
		}
		s.waiting = s.waiting[1:]
	}
	if s.paused && s.ingest.limiter.halfEmpty() {
		s.resume()
	}
}

// tryStart starts the run of a message on a goroutine of its own. It returns false if no slot
// is free within the wait. startCtx is the context of the start.
//
// The permit is acquired and released here and nowhere else.
func (s *session) tryStart(ctx, startCtx context.Context, m waitingMessage, wait time.Duration) bool {
	permit, ok := s.ingest.limiter.acquire(ctx, wait)
	if !ok {
		return false
	}
	// Before the goroutine runs, so that a revocation that comes next waits for this start.
	m.partition.offsets.beginStart()
	go func() {
		defer permit.release()
		if s.ingest.starter.start(startCtx, m.message, permit) == nil {
			m.partition.offsets.completeStart(m.pending)
		}
	}()
	return true
}

func (s *session) pause() {
	if s.paused {
		return
	}
	if parts, err := s.consumer.Assignment(); err == nil && s.consumer.Pause(parts) == nil {
		s.paused = true
	}
}

// resume resumes the partitions that are positioned. The others are resumed when they are
// positioned.
func (s *session) resume() {
	var parts []kafka.TopicPartition
	for _, p := range s.partitions() {
		parts = append(parts, p.key.at(0))
		p.behindSince = time.Time{}
	}
	if s.consumer.Resume(parts) == nil {
		s.paused = false
		s.wakeFetchers()
	}
}

// wakeFetchers makes librdkafka notice at once that partitions were resumed, which otherwise
// takes up to 1 s. The requests of a survey to the partitions' leaders wake it.
func (s *session) wakeFetchers() { s.surveys.requestNow() }

// drain waits for the starts in flight, up to a limit. It does not start the waiting messages:
// they are not committed, so they are read again. Messages of a topic that was deleted and
// created again since are the exception: they are started now, because Kafka no longer has
// them.
func (s *session) drain(startCtx context.Context, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for _, m := range s.waiting {
		if slices.Contains(s.replaced, m.partition) {
			s.tryStart(startCtx, startCtx, m, time.Until(deadline))
		}
	}
	s.waiting = nil
	waitIdle(append(s.partitions(), s.replaced...), time.Until(deadline))
	for _, p := range s.replaced {
		if n := p.offsets.notAccepted(); n > 0 {
			s.log.Error("messages were read from a topic that was deleted or a log that was cut off, and Temporal did not accept them before the consumer was closed; "+
				"those that Kafka no longer has are lost", "topic", p.key.topic, "partition", p.key.partition, "messages", n)
		}
	}
}

// close commits the messages that Temporal has accepted, leaves the group and closes the
// consumer. After leaveWait it returns without an answer of the brokers, so that brokers that
// do not answer do not hold up a stop.
func (s *session) close(commitsStopped <-chan struct{}) {
	closed := make(chan error, 1)
	go func() {
		<-commitsStopped
		s.surveys.running.Wait()
		s.commitAssigned()
		s.admin.Close()
		closed <- s.consumer.Close()
	}()
	select {
	case err := <-closed:
		if err != nil {
			s.ingest.options.Log.Warn("the Kafka consumer did not close cleanly; Kafka may give its partitions to other members only after session.timeout.ms", "error", err)
		}
	case <-time.After(leaveWait):
		s.ingest.options.Log.Warn("Kafka did not answer the last commit or the leave of the group in time: it gives the partitions to other members "+
			"after session.timeout.ms, and messages whose commit is missing are read again and found to be duplicates", "limit", leaveWait)
	}
}
