package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
)

// recordsOf waits until a target has n open dead letters, and reads them.
func (s *stack) recordsOf(target string, n int) []deadletter.Record {
	s.t.Helper()
	var files []string
	s.eventually(func() bool {
		var err error
		files, err = filepath.Glob(filepath.Join(s.deadLetters(), target+"_*.json"))
		return err == nil && len(files) == n
	}, "%d records of %s", n, target)
	records := make([]deadletter.Record, n)
	for i, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(s.t, err)
		require.NoError(s.t, json.Unmarshal(data, &records[i]))
	}
	return records
}

// starts returns the number of messages whose start had a result.
func (s *stack) starts(p *devstack.Process, result string) float64 {
	s.t.Helper()
	return s.metric(p, `fanout_workflows_started_total{result="`+result+`"}`)
}

// An event's ID, type or interaction ID may be larger than Temporal accepts. Such a message becomes a
// dead letter that names it, and ingest continues with the partition.
func TestIngest_OversizeEventFieldsDoNotBlockThePartition(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	ingest := s.run("ingest")
	separators := strings.Repeat("\u2028", 300_000)
	ids := []string{s.id(0), s.id(1) + separators, s.id(2)}
	s.produce([]byte(`{"event_id":"` + ids[0] + `","event_type":"` + strings.Repeat("\xff", 700_000) + `"}`))
	s.produce([]byte(`{"event_id":"` + ids[1] + `","event_type":"conversation.started"}`))
	s.produce([]byte(`{"event_id":"` + ids[2] + `","event_type":"conversation.ended","interaction":{"id":"` + separators + `"}}`))
	s.produce(flatEvent(s.id(3), "conversation.started"))
	s.waitFor("analytics", hasEvents(1))
	s.waitCommitted(4)
	assert.InDelta(t, 3, s.starts(ingest, "oversize"), 0)
	for offset, id := range ids {
		got := s.record(event.OversizeTarget, id)
		assert.Equal(t, event.ReasonOversize, got.Reason)
		assert.EqualValues(t, offset, got.Source.Offset)
		assert.Equal(t, s.name, got.Source.Topic)
		assert.Nil(t, got.Message())
		assert.Contains(t, got.Error, "bytes")
		for _, field := range []string{got.EventID, got.EventType, got.InteractionID} {
			assert.LessOrEqual(t, len(field), 160)
		}
		assert.Equal(t, fanout.WorkflowID(id), got.WorkflowID)
		s.waitStatus(id, enums.WORKFLOW_EXECUTION_STATUS_FAILED)

		out, _, code := s.deadletter("list", "--target", event.OversizeTarget, "--event", got.EventID)
		assert.Zero(t, code)
		assert.Contains(t, out, got.EventID)
		out, _, code = s.deadletter("show", event.OversizeTarget, got.EventID)
		assert.Zero(t, code)
		assert.Contains(t, out, fmt.Sprintf("partition 0, offset %d", offset))
	}
	_, errs, code := s.deadletter("replay", "--all", "--yes")
	assert.Equal(t, 1, code)
	for _, record := range s.recordsOf(event.OversizeTarget, 3) {
		assert.Contains(t, errs, record.EventID+": Kafka topic", "replay prints the same ID as list")
	}
}

// The second event must not be dropped as a duplicate of the first. A real duplicate must be dropped.
func TestIngest_TwoEventsWithOneIDAreAConflict(t *testing.T) {
	t.Parallel()
	var rejected atomic.Bool
	s := newStack(t, targetScripts{"analytics": ok, "compliance": func(devstack.Request) devstack.Answer {
		if rejected.CompareAndSwap(false, true) {
			return devstack.Answer{Status: http.StatusUnprocessableEntity}
		}
		return devstack.Answer{Status: http.StatusOK}
	}}, analyticsAndCompliance)
	second := s.name + "-second"
	require.NoError(t, s.kafka.CreateTopic(s.ctx, second, 1))
	topics := "KAFKA_TOPIC=" + s.name + "," + second
	s.run("worker")
	ingest := s.run("ingest", topics)

	id := s.id(1001)
	began, ended := flatEvent(id, "conversation.started"), flatEvent(id, "conversation.ended")
	toSecond := func(message []byte) { require.NoError(t, s.kafka.Produce(s.ctx, second, 0, nil, message)) }
	s.produce(began)
	s.waitStatus(id, enums.WORKFLOW_EXECUTION_STATUS_FAILED)
	firstRun := s.record("compliance", id).RunID
	toSecond(ended)
	conflict := s.recordsOf(event.ConflictTarget, 1)[0]
	assert.Equal(t, event.ReasonConflict, conflict.Reason)
	assert.NotEqual(t, id, conflict.EventID)
	assert.Equal(t, string(ended), string(conflict.Message()))
	assert.Equal(t, "conversation.ended", conflict.EventType)
	assert.Equal(t, second, conflict.Source.Topic)
	for _, part := range []string{id, fanout.WorkflowID(id), firstRun, "conversation.started", "conversation.ended", "FANOUT_EVENT_ID"} {
		assert.Contains(t, conflict.Error, part)
	}
	s.waitStatus(conflict.EventID, enums.WORKFLOW_EXECUTION_STATUS_FAILED)
	assert.InDelta(t, 1, s.starts(ingest, "conflict"), 0)
	assert.Contains(t, ingest.Text(), "level=WARN msg=\"two events have one id")

	out, _, code := s.deadletter("show", event.ConflictTarget, conflict.EventID)
	assert.Zero(t, code)
	assert.Contains(t, out, "FANOUT_EVENT_ID")
	out, errs, code := s.deadletter("replay", "--all", "--yes")
	assert.Equal(t, 1, code, "replay names the conflict and sends the other record")
	assert.Contains(t, errs, "_conflict: 1 not sent")
	assert.Contains(t, errs, "FANOUT_EVENT_ID")
	assert.Contains(t, out, "delivered 1,")

	// The latest run with the ID was started by the replay.
	s.produce(began)
	toSecond(began)
	toSecond(ended)
	s.eventually(func() bool { return s.starts(ingest, "duplicate") == 3 }, "duplicates of the event and of the conflict")
	s.produce(flatEvent(id, "conversation.transferred"))
	s.recordsOf(event.ConflictTarget, 2)
	assert.Len(t, s.targets["analytics"].Requests(), 1)
	assert.InDelta(t, 2, s.starts(ingest, "conflict"), 0)
	stop(t, ingest)

	// With an expression that gives each event its own ID, there is no conflict. The new group reads all
	// messages again.
	ingest = s.run("ingest", topics, "KAFKA_GROUP_ID="+s.name+"-again", `FANOUT_EVENT_ID=event.id + "-" + event.type`)
	for _, kind := range []string{"started", "ended", "transferred"} {
		s.waitStatus(id+"-conversation."+kind, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	}
	s.eventually(func() bool { return s.starts(ingest, "duplicate") == 3 }, "equal events stay duplicates")
	assert.InDelta(t, 3, s.starts(ingest, "started"), 0)
	assert.Zero(t, s.starts(ingest, "conflict"))
	request := s.targets["analytics"].ByEvent(id + "-conversation.ended")[0]
	assert.Equal(t, id+"-conversation.ended", request.Header.Get("Idempotency-Key"))
	s.recordsOf(event.ConflictTarget, 2)
}

// Both messages have the same topic, partition and offset.
func TestIngest_UndecodableMessagesOfTwoClustersAreBothRecorded(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	s.run("ingest")
	s.produce([]byte("{first bad"))
	s.recordsOf(event.UndecodableTarget, 1)

	other, err := devstack.StartKafka(s.ctx, devstack.KafkaOptions{Dir: t.TempDir(), Topics: map[string]int32{s.name: 1}})
	require.NoError(t, err)
	t.Cleanup(other.Close)
	s.run("ingest", other.Settings(s.name, s.name)...)
	require.NoError(t, other.Produce(s.ctx, s.name, 0, nil, []byte("{second bad")))
	var bodies []string
	for _, record := range s.recordsOf(event.UndecodableTarget, 2) {
		assert.Zero(t, record.Source.Partition)
		assert.Zero(t, record.Source.Offset)
		bodies = append(bodies, string(record.Message()))
	}
	assert.ElementsMatch(t, []string{"{first bad", "{second bad"}, bodies)
}

// The test covers the formats in which producers and connectors write an event, and messages that are
// not events.
func TestIngest_AcceptsMessageFormatsOfProducersAndConnectors(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, `
  - name: analytics
    url: $ANALYTICS
    when: 'event.type != "unknown"'
`)
	s.run("worker")
	ingest := s.run("ingest")
	const conversation = "d81f7c1a-52be-4a0e-8f0d-6b1f0f6a9b01"
	withByteOrderMark := append([]byte("\uFEFF"), flatEvent(s.id(0), "conversation.started")...)
	notification := fmt.Appendf(nil, `{"topicName":"v2.detail.events.conversation.%s.customer.start","note":%q,"eventBody":{"eventTime":1773480413589,"conversationId":%q,"mediaType":"VOICE"}}`,
		conversation, s.name, conversation)
	connect := fmt.Appendf(nil, `{"schema":null,"payload":%s}`, flatEvent(s.id(1), "conversation.started"))
	s.produce(withByteOrderMark)
	s.produce(notification)
	s.produce(connect)
	s.produce(nil)
	s.waitFor("analytics", hasEvents(3))
	s.waitCommitted(4)
	assert.InDelta(t, 1, s.metric(ingest, `fanout_events_consumed_total{format="tombstone"}`), 0)
	assert.InDelta(t, 1, s.metric(ingest, `fanout_events_consumed_total{format="notification"}`), 0)
	assert.InDelta(t, 1, s.metric(ingest, `fanout_events_consumed_total{format="wrapped"}`), 0)
	received := map[[sha256.Size]byte]devstack.Request{}
	for _, r := range s.targets["analytics"].Requests() {
		received[r.SHA256] = r
	}
	assert.Equal(t, s.id(0), received[sha256.Sum256(withByteOrderMark)].EventID, "the body has the byte order mark")
	assert.Equal(t, s.id(1), received[sha256.Sum256(connect)].EventID)
	notified := received[sha256.Sum256(notification)].Header
	assert.Equal(t, conversation, notified.Get("X-Genesys-Interaction-ID"))
	assert.Equal(t, "v2.detail.events.conversation.{id}.customer.start", notified.Get("X-Genesys-Event-Type"))
	assert.Empty(t, s.records(), "a tombstone is not a dead letter")

	for i, message := range []string{
		"", "\x00\x00\x00\x00\x07" + string(flatEvent(s.id(2), "x")), "\x1f\x8b\x08\x00", string(flatEvent(s.id(3), "x")) + "\n" + string(flatEvent(s.id(4), "x")), string(flatEvent(s.id(5), "x")) + "\x00",
	} {
		s.produce([]byte(message))
		s.recordsOf(event.UndecodableTarget, i+1)
	}
	var errs strings.Builder
	for _, record := range s.recordsOf(event.UndecodableTarget, 5) {
		errs.WriteString(record.Error + "\n")
	}
	for _, part := range []string{"it is empty", "schema id 7", "value.serializer", "compression.type", "2 JSON documents", "NUL"} {
		assert.Contains(t, errs.String(), part)
	}
	s.waitCommitted(9)
}
