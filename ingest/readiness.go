package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/internal/outage"
)

const (
	// notReadyAfter is how long the statistics must show that the group is not joined before
	// ingest is not ready. They show that for a moment while SASL authenticates a connection
	// again (connections.max.reauth.ms) and while partitions move. A lost broker is still
	// noticed within the 20 s of /readyz.
	notReadyAfter = 3 * time.Second

	// firstFetchPatience is how long ingest waits for a denied fetch before it counts the
	// session as able to read. It begins with the first answer to a fetch, because a broker
	// may report the end of an empty partition before it denies the fetch of another one.
	firstFetchPatience = 500 * time.Millisecond

	// joinPatience is how long joining the group may take before the log says that ingest
	// waits. Joining takes a few seconds.
	joinPatience = 5 * time.Second
)

// errNotJoined is what /readyz reports before librdkafka has reported an error.
var errNotJoined = errors.New("the consumer group is not joined yet")

// groupOutage logs that the consumer group is not joined: after joinPatience, every 30 s, and
// when the group is joined. It lasts longer than a session. Only the goroutine that polls
// uses it.
type groupOutage struct {
	log     *slog.Logger // of the current session
	outage  *outage.Outage
	since   time.Time // zero: the group is joined
	lastErr error     // the error since the group was joined that says most (recordError)
}

func newGroupOutage() *groupOutage {
	o := &groupOutage{}
	o.outage = outage.New(func(r outage.Report) { o.log.Warn("waiting for Kafka", "for", r.Age, "error", r.Err) }, nil)
	o.outage.Delay = joinPatience
	return o
}

// recordError records an error of librdkafka. Whether it matters is known from the
// statistics. "All brokers are down" says less than the errors before it.
func (o *groupOutage) recordError(err error) {
	if o.lastErr == nil || errorCode(err) != kafka.ErrAllBrokersDown {
		o.lastErr = err
	}
}

// reason returns why the group is not joined.
func (o *groupOutage) reason() error {
	if o.lastErr != nil {
		return o.lastErr
	}
	return errNotJoined
}

func (o *groupOutage) notJoined(now time.Time) {
	if o.since.IsZero() {
		o.since = now
	}
	o.outage.Observe(o.reason())
}

// joined ends the outage. It logs the end of one that was too short for a warning, too.
func (o *groupOutage) joined(now time.Time) {
	if !o.since.IsZero() {
		o.log.Info("the consumer group is joined", "after", now.Sub(o.since).Round(time.Millisecond))
	}
	o.since, o.lastErr = time.Time{}, nil
	o.outage.Observe(nil)
}

// reportReadiness sets the readiness of Kafka and logs why it is not ready.
func (s *session) reportReadiness(now time.Time) {
	if now.Sub(s.steadyAt) >= notReadyAfter {
		s.ingest.group.notJoined(now)
		s.ingest.options.Health.Set(CheckKafka, s.ingest.group.reason())
		return
	}
	if s.established {
		s.ingest.group.joined(now)
	}
	s.ingest.options.Health.Set(CheckKafka, s.readError(now))
}

// readError returns why messages wait although the group is joined, or nil if none waits
// because of an error.
func (s *session) readError(now time.Time) error {
	if unreadable := s.unreadableTopics(now); len(unreadable) > 0 {
		return fmt.Errorf("the user may not read %s; %s", strings.Join(unreadable, ","), TopicAccessCure(s.connection))
	}
	for _, u := range s.unpositioned {
		if u.err != nil && now.Sub(u.since) >= stallPatience {
			return fmt.Errorf("%s is not read: %w", u.key, u.err)
		}
	}
	if stalled := s.stalledByError(now); len(stalled) > 0 {
		return fmt.Errorf("%s is stalled at offset %d: %w", stalled[0].key, stalled[0].position, s.otherErr)
	}
	if !s.established {
		return s.ingest.group.reason()
	}
	return nil
}

// canRead reports whether this member of the group can read: it has read something, or it has
// nothing to read because other members have the partitions.
func (s *session) canRead(now time.Time) bool {
	switch {
	case s.noTopicReadable(now):
		return false
	case len(s.partitions())+len(s.unpositioned) == 0:
		return s.found.topics != nil && (len(s.missingTopics()) == 0 || len(s.missingTopics()) < len(s.topics()))
	}
	return !s.firstFetch.IsZero() && now.Sub(s.firstFetch) >= firstFetchPatience
}

// checkConnected returns an error, which ends the session, if no broker has been connected
// for so long that the connection should be read again.
func (s *session) checkConnected(now time.Time) error {
	if duration := now.Sub(s.connectedAt); duration >= s.ingest.options.ReconnectAfter {
		return &unreachableError{connection: s.connection, duration: duration, err: s.ingest.group.reason()}
	}
	return nil
}
