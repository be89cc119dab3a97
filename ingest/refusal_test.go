package ingest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"genesys-fanout/internal/devstack"
)

// refuse makes the broker answer requests with an error until the returned
// function is called.
func refuse(t *testing.T, kafka *devstack.Kafka, fault kfake.Fault) (hits func() int, end func()) {
	t.Helper()
	fault.Count = -1
	handle, err := kafka.Fault(fault)
	require.NoError(t, err)
	return handle.Hits, handle.Remove
}

// TestATopicThatIsRefusedLater, as when somebody takes its ACL away: ingest is
// not ready, asks for the connection again, and goes on by itself.
func TestATopicThatIsRefusedLater(t *testing.T) {
	for name, keys := range map[string][]kmsg.Key{
		"fetch": {kmsg.Fetch}, "everything": {kmsg.Fetch, kmsg.Metadata},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
			m := run(t, kafka, server, extra(map[string]string{"topic.metadata.refresh.interval.ms": "1000"}))
			produce(t, kafka, 0, 0, 5)
			wait(t, func() bool { return committed(t, kafka, 0) == 5 && m.ready() }, "consumes")
			hits, end := refuse(t, kafka, kfake.Fault{Keys: keys, Topic: topic, Err: kerr.TopicAuthorizationFailed})
			wait(t, func() bool { return !m.ready() }, "not ready")
			wait(t, func() bool { return strings.Count(m.log.text(), "reading the connection details again") >= 2 }, "tried again")
			assert.ErrorContains(t, m.health.of(CheckKafka), "KAFKA_TOPIC")
			assert.Positive(t, hits())
			end()
			produce(t, kafka, 0, 5, 10)
			wait(t, func() bool { return committed(t, kafka, 0) == 10 && m.ready() }, "goes on")
			for n := range 10 {
				assert.Equal(t, 1, server.tried(id(n)))
			}
		})
	}
}

// TestATopicThatIsRefusedAtTheStart ends Run, though the group can be joined: who
// may describe a topic and not read it would wait for ever.
func TestATopicThatIsRefusedAtTheStart(t *testing.T) {
	for name, keys := range map[string][]kmsg.Key{
		"fetch": {kmsg.Fetch}, "everything": {kmsg.Fetch, kmsg.Metadata},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka := startKafka(t, map[string]int32{topic: 1})
			refuse(t, kafka, kfake.Fault{Keys: keys, Topic: topic, Err: kerr.TopicAuthorizationFailed})
			m := run(t, kafka, newTemporal(), nil)
			began := time.Now()
			err := m.end(t)
			var refused *CredentialsError
			require.ErrorAs(t, err, &refused)
			assert.ErrorContains(t, err, "may read KAFKA_TOPIC as KAFKA_GROUP_ID")
			assert.Less(t, time.Since(began), 20*time.Second)
			assert.False(t, m.ready())
		})
	}
}
