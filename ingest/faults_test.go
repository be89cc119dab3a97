package ingest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAFatalErrorEndsRun: here another member takes the place of this one.
func TestAFatalErrorEndsRun(t *testing.T) {
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
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 && second.ready() }, "the second goes on")
}

// TestACommitThatFailsIsTriedAgain, and what was started meanwhile is neither
// lost nor read twice.
func TestACommitThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
	release := server.hold(id(0), id(5))
	defer release()
	hits, end := refuse(t, kafka, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Partitions: []int32{1}, Err: kerr.InvalidCommitOffsetSize})
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	produce(t, kafka, 1, 5, 10)
	wait(t, func() bool { return server.holds() == 8 }, "all but the first of each, so that one commit holds both")
	release()
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "the other partition is committed")
	wait(t, func() bool { return hits() >= 3 }, "it is tried again")
	assert.EqualValues(t, -1, committed(t, kafka, 1))
	assert.Contains(t, m.log.text(), "not committed; trying again")
	end()
	wait(t, func() bool { return committed(t, kafka, 1) == 5 }, "without another message")
	for n := range 10 {
		assert.Equal(t, 1, server.tried(id(n)))
	}
}

// TestACommitThatFailsToTheEndIsReadAgain by the next member: a duplicate for
// Temporal to drop, and no loss.
func TestACommitThatFailsToTheEndIsReadAgain(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "the first ones")
	hits, end := refuse(t, kafka, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.InvalidCommitOffsetSize})
	produce(t, kafka, 0, 5, 10)
	wait(t, func() bool { return server.holds() == 10 && hits() > 0 }, "started, not committed")
	m.stop()
	require.NoError(t, m.end(t))
	end()
	assert.EqualValues(t, 5, committed(t, kafka, 0))
	run(t, kafka, server, nil)
	wait(t, func() bool { return committed(t, kafka, 0) == 10 }, "the next member")
	assert.Equal(t, 1, server.tried(id(4)))
	assert.Equal(t, 2, server.tried(id(5)))
	assert.Equal(t, 2, server.tried(id(9)))
}

// TestIngest_CommitsWithoutMetadataIfTheBrokerTakesNone, as one does whose
// offset.metadata.max.bytes is small.
func TestIngest_CommitsWithoutMetadataIfTheBrokerTakesNone(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	refuse(t, kafka, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.OffsetMetadataTooLarge, When: func(req kmsg.Request) bool {
		commit, ok := req.(*kmsg.OffsetCommitRequest)
		return ok && commit.Topics[0].Partitions[0].Metadata != nil && *commit.Topics[0].Partitions[0].Metadata != ""
	}})
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "committed")
	assert.Contains(t, m.log.text(), "offset.metadata.max.bytes")
}
