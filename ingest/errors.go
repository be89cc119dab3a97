package ingest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// errorCode returns the Kafka error code of an error, or ErrNoError if it has none.
func errorCode(err error) kafka.ErrorCode {
	if e, ok := errors.AsType[kafka.Error](err); ok {
		return e.Code()
	}
	return kafka.ErrNoError
}

// IsAuthenticationError reports whether the brokers rejected the credentials, or whether
// librdkafka could not get a token for them.
func IsAuthenticationError(err error) bool {
	switch errorCode(err) {
	case kafka.ErrAuthentication, kafka.ErrSaslAuthenticationFailed, kafka.ErrUnsupportedSaslMechanism:
		return true
	}
	return false
}

// IsAuthorizationError reports whether the brokers know the user but do not allow the
// request.
func IsAuthorizationError(err error) bool {
	switch errorCode(err) {
	case kafka.ErrGroupAuthorizationFailed, kafka.ErrTopicAuthorizationFailed:
		return true
	}
	return false
}

// IsUnknownTopic reports whether an error says that there is no such topic.
func IsUnknownTopic(err error) bool {
	switch errorCode(err) {
	case kafka.ErrUnknownTopicOrPart, kafka.ErrUnknownTopic:
		return true
	}
	return false
}

// ReadNotAllowed reports whether the brokers listed the operations that the user is allowed,
// and reading is not among them.
func ReadNotAllowed(allowed []kafka.ACLOperation) bool {
	return len(allowed) > 0 && !slices.Contains(allowed, kafka.ACLOperationRead) && !slices.Contains(allowed, kafka.ACLOperationAll)
}

// isConnectionError reports whether an error concerns only a connection. Whether the brokers
// can be reached is known from the statistics.
func isConnectionError(err error) bool {
	switch errorCode(err) {
	case kafka.ErrTransport, kafka.ErrAllBrokersDown, kafka.ErrResolve, kafka.ErrTimedOut, kafka.ErrSsl:
		return true
	}
	return false
}

// fatalError is an error after which librdkafka's consumer is of no use any more, for
// example because another member has the same group.instance.id.
type fatalError struct{ err error }

func (e *fatalError) Error() string {
	cure := "restart ingest; if it ends in the same way again, correct what the error names"
	if errorCode(e.err) == kafka.ErrFencedInstanceID {
		cure = "set another group.instance.id in KAFKA_OPTIONS of each ingest, or none"
	}
	return "Kafka ended this consumer: " + e.err.Error() + "; " + cure
}

func (e *fatalError) Unwrap() error { return e.err }

// unreachableError ends a session because no broker has answered for a long time. The
// brokers may have moved, or may have a certificate of another authority.
type unreachableError struct {
	connection Connection
	duration   time.Duration
	err        error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no broker has answered at %s for %s: %v", e.connection.BootstrapServers, e.duration.Round(time.Second), e.err)
}

func (e *unreachableError) Unwrap() error { return e.err }

// CredentialsError means that the brokers rejected the credentials, or that the credentials
// do not allow reading any topic.
type CredentialsError struct {
	Connection Connection
	Err        error
}

// Error says how the connection was tried and how to cure the error.
func (e *CredentialsError) Error() string {
	c := e.Connection
	user := fmt.Sprintf(" as %q", c.SASLUsername)
	if c.SASLMechanism == OAuthBearer {
		user = ""
	}
	return fmt.Sprintf("Kafka at %s rejected the credentials: %s%s with %s: %v; %s, and that the user may read KAFKA_TOPIC as KAFKA_GROUP_ID",
		c.BootstrapServers, c.SecurityProtocol, user, c.SASLMechanism, e.Err, CredentialsCure(c))
}

// Unwrap returns librdkafka's error.
func (e *CredentialsError) Unwrap() error { return e.Err }

// The cures that both ingest and its --preflight name.
const (
	MissingTopicCure = "create the topic or correct KAFKA_TOPIC"
	LeaderlessCure   = "check that all brokers run"
	DroppedCure      = "raise the topic's retention.ms or retention.bytes, and find out why the group was behind"
)

// The cures that only log lines name.
const (
	stalledCure  = "read the error and correct the broker or the topic that it names; if the message itself is damaged, stop ingest and move the group past it with kafka-consumer-groups --reset-offsets"
	metadataCure = "raise the brokers' offset.metadata.max.bytes to 256 or more"
	waitCure     = "nothing to do unless this lasts, because ingest tries again"
)

// CredentialsCure returns the cure if the brokers reject the credentials. It ends with a list
// of things to check, to which a caller may add.
func CredentialsCure(c Connection) string {
	if c.SASLMechanism == OAuthBearer {
		return "correct the sasl.oauthbearer settings in KAFKA_OPTIONS, and check that the token endpoint issues a token that the brokers accept " +
			"and that the outbound port is the brokers' SASL port"
	}
	return "correct KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM (or the Genesys integration they come from), " +
		"and check that the outbound port is the brokers' SASL port"
}

// TopicAccessCure returns the cure for a topic that the user may not read.
func TopicAccessCure(c Connection) string {
	return c.allow("read it (READ and DESCRIBE)") + ", or correct KAFKA_TOPIC"
}

// GroupAccessCure returns the cure for a consumer group that the user may not read as.
func GroupAccessCure(c Connection) string {
	return c.allow("read as this group (READ)") + ", or correct KAFKA_GROUP_ID"
}

func (c Connection) allow(right string) string {
	if c.SASLMechanism == OAuthBearer {
		return "allow the token's user to " + right
	}
	return fmt.Sprintf("allow the user %q to %s", c.SASLUsername, right)
}

// cureOf returns what an operator can do about an error of librdkafka that does not end the
// session.
func (c Connection) cureOf(err error) string {
	switch {
	case IsAuthenticationError(err):
		return CredentialsCure(c)
	case errorCode(err) == kafka.ErrGroupAuthorizationFailed:
		return GroupAccessCure(c)
	case errorCode(err) == kafka.ErrTopicAuthorizationFailed:
		return TopicAccessCure(c)
	case IsUnknownTopic(err):
		return MissingTopicCure
	}
	return waitCure
}

// errLeaderless is the error of a partition that has no leader.
var errLeaderless = errors.New("the partition has no leader; " + LeaderlessCure)

func (s *session) credentialsError(err error) error {
	return &CredentialsError{Connection: s.connection, Err: err}
}

// handleError acts on an error that librdkafka reported. It counts each error, and logs one
// of each code in 30 s. An error that only keeps the group from being joined is logged as
// part of that outage instead. handleError returns an error if the session must end.
func (s *session) handleError(err error) error {
	err = s.connection.RedactError(err)
	now := time.Now()
	s.ingest.metrics.errors.WithLabelValues(errorCode(err).String()).Inc()
	s.ingest.group.recordError(err)
	if s.established || !isConnectionError(err) && !IsAuthenticationError(err) {
		if times, due := s.logLimit.occurred("error " + errorCode(err).String()); due {
			s.log.Warn("Kafka reports an error", "code", errorCode(err).String(), "error", err, "times", times, "cure", s.connection.cureOf(err))
		}
	}
	var e kafka.Error
	switch {
	case errors.As(err, &e) && e.IsFatal():
		return &fatalError{err}
	case errorCode(err) == kafka.ErrGroupAuthorizationFailed && s.established:
		return s.credentialsError(err)
	case IsAuthenticationError(err), errorCode(err) == kafka.ErrGroupAuthorizationFailed:
		s.rejection = err
		if s.rejectedSince.IsZero() {
			s.rejectedSince = now
		}
	case errorCode(err) == kafka.ErrTopicAuthorizationFailed:
		s.fetchDeniedAt, s.fetchErr = now, err
		s.surveys.requestBy(now.Add(surveyRetry))
	case isConnectionError(err):
	default:
		s.otherErr, s.otherErrAt = err, now
		s.surveys.requestBy(now.Add(surveyRetry))
	}
	return nil
}
