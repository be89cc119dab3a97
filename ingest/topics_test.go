package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAMissingTopicIsRemindedOf every 30 s until it is there, whatever the
// brokers answer in between.
func TestAMissingTopicIsRemindedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			log     logLines
			asked   int
			missing = []string{"b", "c"}
			failure error
		)
		a := absence{log: slog.New(slog.NewTextHandler(&log, nil)), every: remindInterval, ask: func(context.Context) ([]string, error) {
			asked++
			return missing, failure
		}}
		pass := func(d time.Duration) { // with a poll a second
			for range d / time.Second {
				<-time.After(time.Second)
				a.remind(t.Context())
				synctest.Wait()
			}
		}
		pass(time.Minute)
		assert.Zero(t, asked, "nothing is missing")
		a.suspect()
		pass(29 * time.Second)
		a.suspect() // of another; one reminder is for all
		assert.Zero(t, asked, "it was just told")
		pass(2 * time.Second)
		assert.Equal(t, 1, asked)
		assert.Equal(t, 1, strings.Count(log.text(), `level=WARN msg="waiting for a topic" missing=b,c for=31s cure="create the topic or correct KAFKA_TOPIC"`), log.text())
		pass(90 * time.Second)
		assert.Equal(t, 4, strings.Count(log.text(), "waiting for a topic"), log.text())
		failure = errors.New("away")
		pass(time.Minute)
		assert.Equal(t, 4, strings.Count(log.text(), "\n"), "brokers that are away are not its matter")
		missing, failure = nil, nil
		pass(31 * time.Second)
		assert.Contains(t, log.text(), "every topic is there")
		was := asked
		pass(time.Hour)
		assert.Equal(t, was, asked)
	})
}

// TestOneTopicOfTwoIsMissing: the other one is consumed, and the missing one is
// named again and again.
func TestOneTopicOfTwoIsMissing(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	const later = "created-later"
	connection := connectionTo(kafka)
	connection.Topics = []string{topic, later}
	var log logLines
	health := newHealth()
	in, err := New(Options{
		Connect: func(context.Context) (Connection, error) { return connection, nil },
		GroupID: group, Reset: "earliest", Targets: oneTarget(t), Starter: server, MaxStarts: 32,
		Extra:  map[string]string{"topic.metadata.refresh.interval.ms": "1000"},
		Health: health, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	s, err := in.session(t.Context())
	require.NoError(t, err)
	s.absent.every = time.Second
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ended)
		if t.Failed() {
			t.Log(log.text())
		}
	}()
	produce(t, kafka, 0, 0, 3)
	wait(t, func() bool { return committed(t, kafka, 0) == 3 && health.of(CheckKafka) == nil }, "the topic that is there")
	wait(t, func() bool { return strings.Count(log.text(), "missing="+later+" ") >= 2 }, "reminders")
	assert.Equal(t, 1, strings.Count(log.text(), "Subscribed topic not available: "+later), "librdkafka tells once")
	require.NoError(t, kafka.CreateTopic(t.Context(), later, 1))
	wait(t, func() bool { return strings.Contains(log.text(), "every topic is there") }, "found")
	require.NoError(t, kafka.Produce(t.Context(), later, 0, nil, []byte(`{"event_id":"late"}`)))
	wait(t, func() bool { return server.tried("late") == 1 }, "consumed")
}
