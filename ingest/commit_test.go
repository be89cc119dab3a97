package ingest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Messages that are started meanwhile are neither lost nor read twice.
func TestIngest_RepeatsACommitThatFailed(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 2}), newTemporal()
	release := server.block(id(0), id(5))
	defer release()
	hits, end := reject(t, kafka, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Partitions: []int32{1}, Err: kerr.InvalidCommitOffsetSize})
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	produce(t, kafka, 1, 5, 10)
	wait(t, func() bool { return server.acceptedCount() == 8 }, "all but the first of each, so that one commit holds both")
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

// For Temporal these messages are duplicates.
func TestIngest_TheNextMemberReadsMessagesAgainWhoseCommitFailed(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "the first ones")
	hits, end := reject(t, kafka, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.InvalidCommitOffsetSize})
	produce(t, kafka, 0, 5, 10)
	wait(t, func() bool { return server.acceptedCount() == 10 && hits() > 0 }, "started, not committed")
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

// A broker does that if its offset.metadata.max.bytes is small.
func TestIngest_CommitsWithoutMetadataIfTheBrokerAcceptsNone(t *testing.T) {
	t.Parallel()
	kafka, server := startKafka(t, map[string]int32{topic: 1}), newTemporal()
	reject(t, kafka, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.OffsetMetadataTooLarge, When: func(req kmsg.Request) bool {
		commit, ok := req.(*kmsg.OffsetCommitRequest)
		return ok && commit.Topics[0].Partitions[0].Metadata != nil && *commit.Topics[0].Partitions[0].Metadata != ""
	}})
	m := run(t, kafka, server, nil)
	produce(t, kafka, 0, 0, 5)
	wait(t, func() bool { return committed(t, kafka, 0) == 5 }, "committed")
	assert.Contains(t, m.log.text(), "offset.metadata.max.bytes")
}

func TestCommitMetadata_NamesTheTopic(t *testing.T) {
	id := topicID{Cluster: "4L6g3nShT-eMCtK--X86sw", Topic: "lmBcXWZLRyGzn3ZpZ5g7AQ"}
	require.NotNil(t, commitMetadata(id))
	assert.JSONEq(t, `{"v":1,"cluster":"4L6g3nShT-eMCtK--X86sw","topic":"lmBcXWZLRyGzn3ZpZ5g7AQ"}`, *commitMetadata(id))
	assert.Equal(t, id, parseMetadata(commitMetadata(id)))
	assert.Nil(t, commitMetadata(topicID{Cluster: "c"}), "a broker before 2.8")

	strange := topicID{Cluster: strings.Repeat("c", 5000), Topic: "t"}
	assert.LessOrEqual(t, len(*commitMetadata(strange)), maxMetadataLength)
	assert.False(t, parseMetadata(commitMetadata(strange)).differs(strange))

	for _, other := range []string{"", "reset by kafka-consumer-groups", "{", `{"v":2,"topic":"t"}`, `"x"`} {
		assert.False(t, parseMetadata(&other).known(), other)
	}
	assert.False(t, parseMetadata(nil).known())
}
