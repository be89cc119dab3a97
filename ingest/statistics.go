package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// errNotJoined is what /readyz says before librdkafka reports more.
var errNotJoined = errors.New("the consumer group is not joined yet")

// statistics is the part of librdkafka's statistics that says whether the brokers
// answer; see its STATISTICS.md.
type statistics struct {
	Brokers map[string]struct {
		NodeID int    `json:"nodeid"`
		State  string `json:"state"`
	} `json:"brokers"`
	Group struct {
		State     string `json:"state"`
		JoinState string `json:"join_state"`
	} `json:"cgrp"`
}

// joined is true if the group is joined and a broker is there to be read from.
func (st statistics) joined() bool {
	if st.Group.State != "up" || st.Group.JoinState != "steady" {
		return false
	}
	for _, broker := range st.Brokers {
		if broker.NodeID >= 0 && broker.State == "UP" {
			return true
		}
	}
	return false
}

// connected is true if a broker accepted our credentials.
func (st statistics) connected() bool {
	for _, broker := range st.Brokers {
		if broker.State == "UP" {
			return true
		}
	}
	return false
}

// settled is true if every broker that librdkafka needs is connected: none is about
// to authenticate, and none has failed to.
func (st statistics) settled() bool {
	for _, broker := range st.Brokers {
		if broker.State != "UP" && broker.State != "INIT" {
			return false
		}
	}
	return true
}

// refusedWithin is how long after the first answer to a fetch another one may still
// be refused: a broker may report the end of an empty partition first.
const refusedWithin = 500 * time.Millisecond

// notReadyAfter is how long the statistics must show that the group is not joined
// until ingest is not ready. They show that for a moment while SASL authenticates a
// connection again (connections.max.reauth.ms), and while partitions move. A lost
// broker is noticed within /readyz's 20 s all the same.
const notReadyAfter = 3 * time.Second

// observe reads librdkafka's statistics, which come once a second. It returns an
// error if the session must end.
func (s *session) observe(text string, now time.Time) error {
	var stats statistics
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		s.log.Warn("librdkafka's statistics cannot be read", "error", err)
		return nil
	}
	if stats.connected() {
		s.connectedAt = now
		if IsAuthenticationError(s.refusal) && s.accepted(stats) {
			s.refusedSince, s.refusal = time.Time{}, nil
		}
	}
	if stats.joined() {
		s.steadyAt = now
		if !IsAuthenticationError(s.refusal) {
			s.refusedSince, s.refusal = time.Time{}, nil
		}
		s.joined = s.joined || s.reads(now)
	}
	s.report(now)
	if !s.refusedSince.IsZero() && now.Sub(s.refusedSince) >= refusalPatience {
		return s.refused(s.refusal)
	}
	return nil
}

// accepted is true if the brokers accept the credentials after all. Before the group
// is joined, one broker is enough, because another may learn of its users late; and
// with tokens, because librdkafka also reports a token that it could not renew. Else
// a broker that refuses what the others accepted is enough for a refusal. librdkafka
// reports a connection that broke while it authenticated as one, too, but such a
// broker is connected again soon.
func (s *session) accepted(stats statistics) bool {
	return !s.joined || s.connection.SASLMechanism == OAuthBearer || stats.settled()
}

// reads is true if this member of the group is of use: it may read something, or
// has nothing to read because other members do.
func (s *session) reads(now time.Time) bool {
	switch {
	case s.everyTopicRefused(now):
		return false
	case len(s.all())+len(s.unplaced) == 0:
		return s.found.topics != nil && (len(s.missingTopics()) == 0 || len(s.missingTopics()) < len(s.topics()))
	}
	return !s.heard.IsZero() && now.Sub(s.heard) >= refusedWithin
}

// report sets the readiness of Kafka, and logs what keeps it from being ready.
func (s *session) report(now time.Time) {
	away := now.Sub(s.steadyAt) >= notReadyAfter
	switch {
	case away:
		s.in.down.remind(s.log, now)
		s.in.options.Health.Set(CheckKafka, s.in.down.reason())
		return
	case s.joined:
		s.in.down.over(s.log, now)
	}
	s.in.options.Health.Set(CheckKafka, s.obstacle(now))
}

// obstacle returns why messages wait although the group is joined, nil if none
// waits for an error.
func (s *session) obstacle(now time.Time) error {
	if refused := s.unauthorized(now); len(refused) > 0 {
		return fmt.Errorf("the user may not read %s; %s", strings.Join(refused, ","), s.topicRefusalCure())
	}
	for _, u := range s.unplaced {
		if u.fault != nil && now.Sub(u.since) >= stallPatience {
			return fmt.Errorf("%s is not read: %w", u.key, u.fault)
		}
	}
	if stalled := s.stalledByError(now); len(stalled) > 0 {
		return fmt.Errorf("%s is stalled at offset %d: %w", stalled[0].key, stalled[0].expected, s.fault)
	}
	if !s.joined {
		return s.in.down.reason()
	}
	return nil
}

// checkAway ends a session when no broker has answered for so long that the
// connection should be asked for again.
func (s *session) checkAway(now time.Time) error {
	if since := now.Sub(s.connectedAt); since >= s.in.options.ReconnectAfter {
		return &awayError{connection: s.connection, since: since, err: s.in.down.reason()}
	}
	return nil
}

// outage logs once when the brokers are lost, every 30 s while they are, and when
// they are back. It outlives the sessions.
type outage struct {
	last   error // most telling since the brokers were well
	since  time.Time
	logged time.Time
}

// report notes an error; whether it matters, the statistics say. That all brokers
// are down says less than what was reported before it.
func (o *outage) report(err error) {
	if o.last == nil || code(err) != kafka.ErrAllBrokersDown {
		o.last = err
	}
}

func (o *outage) reason() error {
	if o.last != nil {
		return o.last
	}
	return errNotJoined
}

func (o *outage) remind(log *slog.Logger, now time.Time) {
	if o.since.IsZero() {
		o.since = now
		o.logged = now.Add(-remindInterval + 5*time.Second) // joining takes a few seconds
	}
	if now.Sub(o.logged) >= remindInterval {
		o.logged = now
		log.Warn("waiting for Kafka", "for", now.Sub(o.since).Round(time.Second), "error", o.reason())
	}
}

func (o *outage) over(log *slog.Logger, now time.Time) {
	if !o.since.IsZero() {
		log.Info("the consumer group is joined", "after", now.Sub(o.since).Round(time.Millisecond))
	}
	*o = outage{}
}
