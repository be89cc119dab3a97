package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// code is the Kafka error code of an error, ErrNoError if it has none.
func code(err error) kafka.ErrorCode {
	if e, ok := errors.AsType[kafka.Error](err); ok {
		return e.Code()
	}
	return kafka.ErrNoError
}

// IsAuthenticationError is true if the brokers refused the credentials, or no token
// could be had for them.
func IsAuthenticationError(err error) bool {
	switch code(err) {
	case kafka.ErrAuthentication, kafka.ErrSaslAuthenticationFailed, kafka.ErrUnsupportedSaslMechanism:
		return true
	}
	return false
}

// IsAuthorizationError is true if the brokers know the user and do not allow what was
// asked.
func IsAuthorizationError(err error) bool {
	switch code(err) {
	case kafka.ErrGroupAuthorizationFailed, kafka.ErrTopicAuthorizationFailed:
		return true
	}
	return false
}

// isConnection is true for an error of a connection alone. The statistics say
// whether the brokers can be reached.
func isConnection(err error) bool {
	switch code(err) {
	case kafka.ErrTransport, kafka.ErrAllBrokersDown, kafka.ErrResolve, kafka.ErrTimedOut, kafka.ErrSsl:
		return true
	}
	return false
}

// fatalError is an error after which librdkafka says that its consumer is of no
// use, as when another member has the same group.instance.id.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return "Kafka ended this consumer: " + e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// awayError ends a session whose brokers have all been away for so long that they
// may have moved, or may have a certificate of another authority.
type awayError struct {
	connection Connection
	since      time.Duration
	err        error
}

func (e *awayError) Error() string {
	return fmt.Sprintf("no broker has answered at %s for %s: %v", e.connection.BootstrapServers, e.since.Round(time.Second), e.err)
}

func (e *awayError) Unwrap() error { return e.err }

// CredentialsError says that the brokers refused the credentials.
type CredentialsError struct {
	Connection Connection
	Err        error
}

// Error says what was asked and what to do.
func (e *CredentialsError) Error() string {
	c := e.Connection
	if c.SASLMechanism == OAuthBearer {
		return fmt.Sprintf("Kafka at %s refused the credentials: %s with %s: %v; correct the sasl.oauthbearer settings in KAFKA_OPTIONS, "+
			"see that the token endpoint issues a token that the brokers accept, that its user may read KAFKA_TOPIC as KAFKA_GROUP_ID, "+
			"and that the outbound port is the brokers' SASL port",
			c.BootstrapServers, c.SecurityProtocol, c.SASLMechanism, e.Err)
	}
	return fmt.Sprintf("Kafka at %s refused the credentials: %s as %q with %s: %v; correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD "+
		"(or the Genesys integration they come from), see that this user may read KAFKA_TOPIC as KAFKA_GROUP_ID, "+
		"and that the outbound port is the brokers' SASL port",
		c.BootstrapServers, c.SecurityProtocol, c.SASLUsername, c.SASLMechanism, e.Err)
}

// Unwrap gives librdkafka's error.
func (e *CredentialsError) Unwrap() error { return e.Err }

func (s *session) refused(err error) error {
	return &CredentialsError{Connection: s.connection, Err: err}
}

func (s *session) topicRefusalCure() string {
	if s.connection.SASLMechanism == OAuthBearer {
		return "allow the token's user to read it (READ and DESCRIBE), or correct KAFKA_TOPIC"
	}
	return fmt.Sprintf("allow the user %q to read it (READ and DESCRIBE), or correct KAFKA_TOPIC", s.connection.SASLUsername)
}

// reportError acts on an error of librdkafka. It counts each error, and logs one of
// a code in 30 s; but what keeps the group from being joined is logged as an outage.
// It returns an error if the session must end.
func (s *session) reportError(err error) error {
	err = s.connection.redactError(err)
	now := time.Now()
	s.in.metrics.errors.WithLabelValues(code(err).String()).Inc()
	s.in.down.report(err)
	if s.joined || !isConnection(err) && !IsAuthenticationError(err) {
		if times, due := s.lines.happened("error " + code(err).String()); due {
			s.log.Warn("Kafka reports an error", "code", code(err).String(), "error", err, "times", times)
		}
	}
	var e kafka.Error
	switch {
	case errors.As(err, &e) && e.IsFatal():
		return &fatalError{err}
	case code(err) == kafka.ErrGroupAuthorizationFailed && s.joined:
		return s.refused(err)
	case IsAuthenticationError(err), code(err) == kafka.ErrGroupAuthorizationFailed:
		s.refusal = err
		if s.refusedSince.IsZero() {
			s.refusedSince = now
		}
	case code(err) == kafka.ErrTopicAuthorizationFailed:
		s.fetchRefused, s.topicRefusal = now, err
		s.surveys.by(now.Add(surveyRetry))
	case isConnection(err):
	default:
		s.fault, s.faultAt = err, now
		s.surveys.by(now.Add(surveyRetry))
	}
	return nil
}

// checkTopics ends a session that may read no topic at all.
func (s *session) checkTopics(now time.Time) error {
	if !s.everyTopicRefused(now) {
		s.topicsRefusedSince = time.Time{}
		return nil
	}
	if s.topicsRefusedSince.IsZero() {
		s.topicsRefusedSince = now
	}
	if now.Sub(s.topicsRefusedSince) < refusalPatience {
		return nil
	}
	if s.topicRefusal == nil {
		s.topicRefusal = kafka.NewError(kafka.ErrTopicAuthorizationFailed, "", false)
	}
	return s.refused(s.topicRefusal)
}
