package ingest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlace(t *testing.T) {
	old, now := topicID{Cluster: "c", Topic: "old"}, topicID{Cluster: "c", Topic: "now"}
	for name, test := range map[string]struct {
		facts situation
		want  placement
	}{
		"a commit":                        {situation{committed: 10, start: 0, end: 50, stamp: now, topic: now}, placement{from: 10}},
		"a commit at the end":             {situation{committed: 50, start: 0, end: 50}, placement{from: 50}},
		"no commit, earliest":             {situation{committed: -1, start: 5, end: 50}, placement{from: 5}},
		"no commit, latest":               {situation{committed: -1, start: 5, end: 50, latest: true}, placement{from: 50}},
		"dropped":                         {situation{committed: 10, start: 30, end: 50}, placement{from: 30, skipped: 20}},
		"dropped, latest":                 {situation{committed: 10, start: 30, end: 50, latest: true}, placement{from: 30, skipped: 20}},
		"everything dropped":              {situation{committed: 10, start: 50, end: 50}, placement{from: 50, skipped: 40}},
		"beyond the end":                  {situation{committed: 51, start: 5, end: 50}, placement{from: 5, beyond: true}},
		"beyond the end, latest":          {situation{committed: 51, start: 5, end: 50, latest: true}, placement{from: 5, beyond: true}},
		"another topic":                   {situation{committed: 20, stamp: old, topic: now, start: 2, end: 50}, placement{from: 2, replaced: true}},
		"another topic, latest":           {situation{committed: 20, stamp: old, topic: now, end: 50, latest: true}, placement{replaced: true}},
		"another cluster":                 {situation{committed: 20, stamp: topicID{Cluster: "d", Topic: "now"}, topic: now, end: 50}, placement{replaced: true}},
		"no metadata, and remembered":     {situation{committed: 20, remembered: old, topic: now, end: 50}, placement{replaced: true}},
		"no commit, and remembered":       {situation{committed: -1, remembered: old, topic: now, end: 50, latest: true}, placement{replaced: true}},
		"the commit knows it better":      {situation{committed: 20, stamp: now, remembered: old, topic: now, end: 50}, placement{from: 20}},
		"no metadata and none remembered": {situation{committed: 20, topic: now, end: 50}, placement{from: 20}},
		"a broker without topic ids":      {situation{committed: 20, stamp: old, end: 50}, placement{from: 20}},
	} {
		assert.Equal(t, test.want, place(test.facts), name)
	}
}

// TestIngest_KeepsItsPositionIfLibrdkafkaResetsIt after it was set: a reset of the
// position that the partition was assigned with may end late.
func TestIngest_KeepsItsPositionIfLibrdkafkaResetsIt(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	produce(t, kafka, 0, 0, 10)
	require.NoError(t, kafka.Commit(t.Context(), group, topic, 0, 7, ""))
	lines := &logLines{}
	in, err := New(Options{
		Connect: func(context.Context) (Connection, error) { return connectionTo(kafka), nil },
		GroupID: group, Reset: "earliest", Targets: oneTarget(t), Starter: server, MaxStarts: 32,
		Health: newHealth(), Log: slog.New(slog.NewTextHandler(lines, nil)),
	})
	require.NoError(t, err)
	s, err := in.newSession(connectionTo(kafka))
	require.NoError(t, err)
	require.NoError(t, s.consumer.SubscribeTopics(s.connection.Topics, s.rebalance))
	stopped := make(chan struct{})
	close(stopped)
	defer s.leave(stopped)
	go s.forwardLogs()
	wait(t, func() bool {
		if len(s.all()) == 0 {
			require.NoError(t, s.poll())
			s.survey(t.Context(), time.Now())
		}
		return len(s.all()) == 1
	}, "the partition's place")
	require.NoError(t, s.seek(s.all()[0].key, 0))
	wait(t, func() bool {
		require.NoError(t, s.poll())
		s.startWaiting(t.Context(), t.Context())
		return server.holds() > 0 && s.all()[0].expected == 10
	}, "the messages")
	s.drain(t.Context(), drainWait)
	assert.Zero(t, server.tried(id(6)))
	assert.Equal(t, 1, server.tried(id(7)))
	assert.NotContains(t, lines.text(), "level=ERROR")
}
