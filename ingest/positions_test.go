package ingest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChoosePosition(t *testing.T) {
	old, now := topicID{Cluster: "c", Topic: "old"}, topicID{Cluster: "c", Topic: "now"}
	for name, test := range map[string]struct {
		facts partitionFacts
		want  positionChoice
	}{
		"a commit":                        {partitionFacts{committed: 10, start: 0, end: 50, committedTopic: now, topic: now}, positionChoice{offset: 10}},
		"a commit at the end":             {partitionFacts{committed: 50, start: 0, end: 50}, positionChoice{offset: 50}},
		"no commit, earliest":             {partitionFacts{committed: -1, start: 5, end: 50}, positionChoice{offset: 5}},
		"no commit, latest":               {partitionFacts{committed: -1, start: 5, end: 50, latest: true}, positionChoice{offset: 50}},
		"dropped":                         {partitionFacts{committed: 10, start: 30, end: 50}, positionChoice{offset: 30, dropped: 20}},
		"dropped, latest":                 {partitionFacts{committed: 10, start: 30, end: 50, latest: true}, positionChoice{offset: 30, dropped: 20}},
		"everything dropped":              {partitionFacts{committed: 10, start: 50, end: 50}, positionChoice{offset: 50, dropped: 40}},
		"beyond the end":                  {partitionFacts{committed: 51, start: 5, end: 50}, positionChoice{offset: 5, beyondEnd: true}},
		"beyond the end, latest":          {partitionFacts{committed: 51, start: 5, end: 50, latest: true}, positionChoice{offset: 5, beyondEnd: true}},
		"another topic":                   {partitionFacts{committed: 20, committedTopic: old, topic: now, start: 2, end: 50}, positionChoice{offset: 2, replaced: true}},
		"another topic, latest":           {partitionFacts{committed: 20, committedTopic: old, topic: now, end: 50, latest: true}, positionChoice{replaced: true}},
		"another cluster":                 {partitionFacts{committed: 20, committedTopic: topicID{Cluster: "d", Topic: "now"}, topic: now, end: 50}, positionChoice{replaced: true}},
		"no metadata, and remembered":     {partitionFacts{committed: 20, lastTopic: old, topic: now, end: 50}, positionChoice{replaced: true}},
		"no commit, and remembered":       {partitionFacts{committed: -1, lastTopic: old, topic: now, end: 50, latest: true}, positionChoice{replaced: true}},
		"the commit knows it better":      {partitionFacts{committed: 20, committedTopic: now, lastTopic: old, topic: now, end: 50}, positionChoice{offset: 20}},
		"no metadata and none remembered": {partitionFacts{committed: 20, topic: now, end: 50}, positionChoice{offset: 20}},
		"a broker without topic ids":      {partitionFacts{committed: 20, committedTopic: old, end: 50}, positionChoice{offset: 20}},
	} {
		assert.Equal(t, test.want, choosePosition(test.facts), name)
	}
}

// A reset of the position that the partition was assigned with may end after the seek.
func TestIngest_RepeatsASeekThatLibrdkafkaUndid(t *testing.T) {
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
	defer s.close(stopped)
	go s.forwardLogs()
	wait(t, func() bool {
		if len(s.partitions()) == 0 {
			require.NoError(t, s.poll())
			s.runSurveys(t.Context(), time.Now())
		}
		return len(s.partitions()) == 1
	}, "the position of the partition")
	require.NoError(t, s.seek(s.partitions()[0].key, 0))
	wait(t, func() bool {
		require.NoError(t, s.poll())
		s.startWaiting(t.Context(), t.Context())
		return server.acceptedCount() > 0 && s.partitions()[0].position == 10
	}, "the messages")
	s.drain(t.Context(), drainWait)
	assert.Zero(t, server.tried(id(6)))
	assert.Equal(t, 1, server.tried(id(7)))
	assert.NotContains(t, lines.text(), "level=ERROR")
}
