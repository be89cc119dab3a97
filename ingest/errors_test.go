package ingest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/devstack"
)

// The old brokers are away for good, and the new ones have a certificate of another authority.
func TestIngest_ReadsTheConnectionAgainIfAllBrokersAreAway(t *testing.T) {
	t.Parallel()
	old, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	produce(t, old, 0, 0, 5)
	var brokers brokersOf
	brokers.set(old)
	m := run(t, old, server, all(brokers.connect, func(o *Options) { o.ReconnectAfter = 5 * time.Second }))
	wait(t, func() bool { return committed(t, old, 0) == 5 && m.ready() }, "the old ones")
	old.Stop()
	wait(t, func() bool { return strings.Contains(m.log.text(), "could not be read again") }, "the Genesys API is away too")
	moved := startKafka(t, map[string]int32{topic: 1})
	produce(t, moved, 0, 100, 105)
	brokers.set(moved)
	wait(t, func() bool { return committed(t, moved, 0) == 5 && m.ready() }, "the new ones")
	assert.Equal(t, 10, server.acceptedCount())
	assert.Contains(t, m.log.text(), "no broker has answered at "+old.Bootstrap())
}

// librdkafka reads the file only once, so the consumer must be rebuilt.
func TestIngest_ReadsARenewedCAFileAgain(t *testing.T) {
	t.Parallel()
	broker, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	m := run(t, broker, server, func(o *Options) { o.ReconnectAfter = 5 * time.Second })
	produce(t, broker, 0, 0, 5)
	wait(t, func() bool { return committed(t, broker, 0) == 5 && m.ready() }, "the old certificate")
	require.NoError(t, broker.RenewCertificates(t.Context()))
	wait(t, func() bool { return !m.ready() }, "the new one is not trusted")
	produce(t, broker, 0, 5, 10)
	wait(t, func() bool { return committed(t, broker, 0) == 10 && m.ready() }, "the file was read again")
	for n := range 10 {
		assert.Equal(t, 1, server.tried(id(n)))
	}
}

// brokersOf returns a connection that changes, as the Genesys API does. It fails while the
// brokers are away.
type brokersOf struct {
	mu     sync.Mutex
	broker *devstack.Kafka
	asked  int
}

func (b *brokersOf) set(broker *devstack.Kafka) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broker, b.asked = broker, 0
}

// connect sets a Connect that succeeds once for each broker.
func (b *brokersOf) connect(o *Options) {
	o.Connect = func(context.Context) (Connection, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.asked++; b.asked > 1 {
			return Connection{}, errors.New("the Genesys API is away")
		}
		return connectionTo(b.broker), nil
	}
}

func TestReadNotAllowed(t *testing.T) {
	read, describe, all := kafka.ACLOperationRead, kafka.ACLOperationDescribe, kafka.ACLOperationAll
	assert.False(t, ReadNotAllowed(nil), "the brokers listed no operations")
	assert.False(t, ReadNotAllowed([]kafka.ACLOperation{describe, read}))
	assert.False(t, ReadNotAllowed([]kafka.ACLOperation{all}))
	assert.True(t, ReadNotAllowed([]kafka.ACLOperation{describe}))
}

// The error is fatal because another member has the same group.instance.id.
func TestIngest_AFatalErrorEndsRun(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	same := extra(map[string]string{"group.instance.id": "one"})
	first := run(t, kafka, server, same)
	wait(t, first.ready, "the first")
	second := run(t, kafka, server, same)
	err := first.end(t)
	var fatal *fatalError
	require.ErrorAs(t, err, &fatal)
	assert.ErrorContains(t, err, "Kafka ended this consumer")
	assert.ErrorContains(t, err, "; set another group.instance.id in KAFKA_OPTIONS of each ingest, or none")
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 && second.ready() }, "the second continues")
}

func TestCureOf_NamesTheSettingOrTheRight(t *testing.T) {
	password, tokens := Connection{SASLUsername: "u"}, Connection{SASLMechanism: OAuthBearer}
	for code, want := range map[kafka.ErrorCode][2]string{
		kafka.ErrSaslAuthenticationFailed: {"correct KAFKA_SASL_USERNAME, ", "correct the sasl.oauthbearer settings in KAFKA_OPTIONS, "},
		kafka.ErrTopicAuthorizationFailed: {`allow the user "u" to read it (READ and DESCRIBE), or correct KAFKA_TOPIC`, "allow the token's user to read it"},
		kafka.ErrGroupAuthorizationFailed: {`allow the user "u" to read as this group (READ), or correct KAFKA_GROUP_ID`, "allow the token's user to read as this group"},
		kafka.ErrUnknownTopicOrPart:       {"create the topic or correct KAFKA_TOPIC", "create the topic or correct KAFKA_TOPIC"},
		kafka.ErrNotEnoughReplicas:        {"nothing to do unless this lasts", "nothing to do unless this lasts"},
	} {
		err := kafka.NewError(code, "", false)
		assert.Contains(t, password.cureOf(err), want[0], code.String())
		assert.Contains(t, tokens.cureOf(err), want[1], code.String())
	}
}

func TestCredentialsError_NamesTheCureAndNoSecret(t *testing.T) {
	inner := errors.New("SCRAM: invalid credentials")
	err := &CredentialsError{Connection: Connection{BootstrapServers: "b:9094", SecurityProtocol: "SASL_SSL", SASLMechanism: "SCRAM-SHA-512", SASLUsername: "u", SASLPassword: "hunter2"}, Err: inner}
	require.ErrorIs(t, err, inner)
	for _, part := range []string{"b:9094", `"u"`, "SCRAM-SHA-512", "KAFKA_SASL_PASSWORD", "port"} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error(), "hunter2")
}
