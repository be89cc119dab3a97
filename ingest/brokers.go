package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// errNotJoined is what /readyz says before librdkafka tells more.
var errNotJoined = errors.New("the consumer group is not joined yet")

// heed takes note of what librdkafka reports beside messages. It returns an
// error where going on makes no sense.
func (s *session) heed(e kafka.Error) error {
	switch {
	case isRefusal(e):
		s.down.report(e)
		if !isTopicRefusal(s.refusal) { // which nothing else takes back
			s.refusal = e
		}
		if s.refusedSince.IsZero() {
			s.refusedSince = time.Now()
		}
		if s.joined {
			return s.refused()
		}
	case e.Code() == kafka.ErrUnknownTopicOrPart, e.Code() == kafka.ErrUnknownTopic:
		err := fmt.Errorf("%w; %s", e, topicCure)
		s.down.report(err)
		s.down.log.Warn("waiting for a topic", "error", err)
		s.absent.suspect()
	case e.IsFatal():
		return &fatalError{e}
	default:
		s.down.report(e)
	}
	return nil
}

func isRefusal(e kafka.Error) bool {
	return IsAuthentication(e) || e.Code() == kafka.ErrTopicAuthorizationFailed || e.Code() == kafka.ErrGroupAuthorizationFailed
}

// IsAuthentication tells whether the brokers refused the credentials.
func IsAuthentication(err error) bool {
	var e kafka.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case kafka.ErrAuthentication, kafka.ErrSaslAuthenticationFailed, kafka.ErrUnsupportedSaslMechanism:
		return true
	}
	return false
}

func (s *session) refused() error { return &RefusedError{Connection: s.connection, Err: s.refusal} }

// isTopicRefusal is true for what being in the group says nothing of: who may not
// read a topic may join all the same. librdkafka tells of it once.
func isTopicRefusal(err error) bool {
	var e kafka.Error
	return errors.As(err, &e) && e.Code() == kafka.ErrTopicAuthorizationFailed
}

// checkRefusal ends the session when its credentials were refused for long
// enough at the start.
func (s *session) checkRefusal() error {
	if s.joined || s.refusedSince.IsZero() || time.Since(s.refusedSince) < refusalPatience {
		return nil
	}
	return s.refused()
}

// statistics is the part of librdkafka's statistics that tells whether the
// brokers answer and how far behind we are; see its STATISTICS.md.
type statistics struct {
	Brokers map[string]struct {
		NodeID int    `json:"nodeid"`
		State  string `json:"state"`
	} `json:"brokers"`
	Group struct {
		State     string `json:"state"`
		JoinState string `json:"join_state"`
	} `json:"cgrp"`
	Topics map[string]struct {
		Partitions map[string]struct {
			ConsumerLag int64 `json:"consumer_lag"`
		} `json:"partitions"`
	} `json:"topics"`
}

// observe sets readiness and lag by librdkafka's statistics.
func (s *session) observe(ctx context.Context, text string) {
	var stats statistics
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		s.in.options.Log.Warn("librdkafka's statistics cannot be read", "error", err)
		return
	}
	if stats.connected() && IsAuthentication(s.refusal) {
		s.refusedSince = time.Time{} // a broker has learned of the user since
	}
	if stats.joined() && !isTopicRefusal(s.refusal) {
		s.joined = true
		s.refusedSince = time.Time{}
		s.down.over()
		s.in.options.Health.Set(CheckKafka, nil)
		s.absent.remind(ctx)
	} else {
		s.in.options.Health.Set(CheckKafka, s.down.reason())
		s.down.remind()
	}
	s.observeLag(stats)
}

// joined means that the group is joined and a broker is there to be read from.
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

// connected means that a broker took our credentials.
func (st statistics) connected() bool {
	for _, broker := range st.Brokers {
		if broker.State == "UP" {
			return true
		}
	}
	return false
}

func (s *session) observeLag(stats statistics) {
	mine := s.all()
	for topic, t := range stats.Topics {
		for number, p := range t.Partitions {
			n, err := strconv.ParseInt(number, 10, 32)
			if err != nil || p.ConsumerLag < 0 {
				continue
			}
			if _, assigned := mine[partitionKey{topic, int32(n)}]; assigned {
				s.in.metrics.lag.WithLabelValues(topic, number).Set(float64(p.ConsumerLag))
			}
		}
	}
}

// outage logs once when the brokers are lost, every 30 s while they are, and
// when they are back.
type outage struct {
	log    *slog.Logger
	last   error // most telling since the brokers were well
	since  time.Time
	logged time.Time
}

// report takes note of an error; whether it matters the statistics tell.
func (o *outage) report(err error) { o.last = err }

func (o *outage) reason() error {
	if o.last != nil {
		return o.last
	}
	return errNotJoined
}

func (o *outage) remind() {
	now := time.Now()
	if o.since.IsZero() {
		o.since = now
		o.logged = now.Add(-remindInterval + 5*time.Second) // joining takes a few seconds
	}
	if now.Sub(o.logged) >= remindInterval {
		o.logged = now
		o.log.Warn("waiting for Kafka", "for", now.Sub(o.since).Round(time.Second), "error", o.reason())
	}
}

func (o *outage) over() {
	if !o.since.IsZero() {
		o.log.Info("the consumer group is joined", "after", time.Since(o.since).Round(time.Millisecond))
	}
	o.since, o.last = time.Time{}, nil
}
