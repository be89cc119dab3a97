package replay_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
	"genesys-fanout/replay"
)

// oneTarget is a targets.yaml with the target a. twoTargets and threeTargets add b and c.
const (
	oneTarget = `
targets:
  - name: a
    url: $a
`
	twoTargets = oneTarget + `
  - name: b
    url: $b
`
	threeTargets = twoTargets + `
  - name: c
    url: $c
`
)

// stage adds to the fixture the dead letters of earlier runs, and replays of them.
type stage struct{ *fixture.Fixture }

// newStage starts no workers.
func newStage(t *testing.T, targets string) *stage {
	t.Helper()
	t.Parallel()
	return &stage{fixture.New(t, fixture.Options{Targets: targets})}
}

func startStage(t *testing.T, targets string) *stage {
	t.Helper()
	s := newStage(t, targets)
	s.StartWorkers()
	return s
}

// record records a dead letter as an earlier run does.
func (s *stage) record(target, id string) deadletter.Record {
	s.T.Helper()
	record := deadletter.Record{
		EventID: id, TargetName: target, Error: "422", Reason: event.ReasonRejected, StatusCode: 422, Attempts: 1, Timestamp: time.Now().UTC(),
		EventType: "conversation.started", InteractionID: "i-1", WorkflowID: fanout.WorkflowID(id), RunID: "run-before-" + target,
		Source: event.Source{Topic: "t", Partition: 1, Offset: 7},
	}
	deadletter.SetPayload(&record, message(id))
	require.NoError(s.T, s.Tracker.Record(s.Ctx, record))
	return record
}

// message returns a message that another encoding would change.
func message(id string) []byte {
	return []byte(`{ "event_id":"` + id + `","n":1.0, "text":"a < b & c","event_type":"of the message" }`)
}

// notices collects the lines that a replay prints.
type notices struct {
	mu    sync.Mutex
	lines []string
}

func (n *notices) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// plan plans a replay of the records that the filter chooses. It also returns the notices.
func (s *stage) plan(filter deadletter.Filter) (*replay.Plan, string) {
	s.T.Helper()
	reader, err := deadletter.OpenExisting(s.TrackerPath)
	require.NoError(s.T, err)
	var named notices
	plan, err := replay.NewPlan(s.Ctx, replay.Selection{Tracker: reader, Targets: s.Set, Filter: filter}, named.add)
	require.NoError(s.T, err)
	return plan, named.String()
}

func (s *stage) options(notified *notices) replay.Options {
	return replay.Options{Client: s.Client, TaskQueue: fixture.TaskQueue, Rate: 1000, Notify: notified.add}
}

// replay plans and runs a replay. It returns its outcomes and its notices.
func (s *stage) replay(filter deadletter.Filter) (replay.Counts, string) {
	s.T.Helper()
	plan, _ := s.plan(filter)
	var notified notices
	r := replay.New(plan, s.options(&notified))
	require.NoError(s.T, r.Run(s.Ctx))
	return r.Counts(), notified.String()
}

// runs returns the number of runs of an event.
func (s *stage) runs(id string) int64 {
	s.T.Helper()
	var count int64
	await.True(s.T, "the runs of "+id+" in the list of runs", func() bool {
		answer, err := s.Client.CountWorkflow(s.Ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowId = '" + fanout.WorkflowID(id) + "'"})
		if err == nil {
			count = answer.GetCount()
		}
		return count > 0
	})
	return count
}

// files returns the number of records in a folder.
func files(t *testing.T, folder ...string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(folder...))
	require.NoError(t, err)
	n := 0
	for _, entry := range entries {
		if !entry.IsDir() && strings.HasSuffix(entry.Name(), ".json") {
			n++
		}
	}
	return n
}

// TestReplay_StartsOneRunForAllTargetsOfAnEvent checks that the run has the message and the names
// of the record, and that a delivery whose record was resolved is not sent again.
func TestReplay_StartsOneRunForAllTargetsOfAnEvent(t *testing.T) {
	s := startStage(t, threeTargets)
	for _, id := range []string{"evt-1", "evt-2"} {
		for _, name := range []string{"a", "b", "c"} {
			s.record(name, id)
		}
	}
	s.record("c", "evt-3")
	plan, _ := s.plan(deadletter.Filter{})
	assert.Equal(t, 3, plan.Events)
	assert.Equal(t, 7, plan.Deliveries)
	assert.Equal(t, 3, plan.Kinds[replay.Kind{Target: "c", Reason: event.ReasonRejected}])

	counts, notified := s.replay(deadletter.Filter{Target: "c", EventID: "evt-1"})
	assert.Equal(t, replay.Counts{Deliveries: 1, Sent: 1, Delivered: 1}, counts, notified)
	assert.Zero(t, s.Targets["a"].Count())

	counts, notified = s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 6, Sent: 6, Delivered: 6}, counts, notified)
	assert.Empty(t, notified)
	for name, ids := range map[string][]string{"a": {"evt-1", "evt-2"}, "b": {"evt-1", "evt-2"}, "c": {"evt-1", "evt-2", "evt-3"}} {
		assert.Equal(t, len(ids), s.Targets[name].Count())
		for _, id := range ids {
			requests := s.Targets[name].ByEvent(id)
			require.Len(t, requests, 1)
			assert.Equal(t, string(message(id)), string(requests[0].Body))
			assert.Equal(t, id, requests[0].Header.Get("Idempotency-Key"))
			assert.Equal(t, "conversation.started", requests[0].Header.Get("X-Genesys-Event-Type"), "of the record")
			assert.Equal(t, "i-1", requests[0].Header.Get("X-Genesys-Interaction-ID"))
		}
	}
	assert.Zero(t, files(t, s.TrackerPath))
	assert.Equal(t, 7, files(t, s.TrackerPath, "resolved"))
	assert.EqualValues(t, 2, s.runs("evt-1"))
	assert.EqualValues(t, 1, s.runs("evt-2"))
	counts, _ = s.replay(deadletter.Filter{})
	assert.Zero(t, counts)
}

// TestReplay_SendsADeliveryThatFailsAgainOnce: the newer record supersedes the older one, and the
// same replay does not send it.
func TestReplay_SendsADeliveryThatFailsAgainOnce(t *testing.T) {
	s := startStage(t, twoTargets)
	s.Answer("a", http.StatusUnprocessableEntity)
	for _, id := range []string{"evt-1", "evt-2", "evt-3"} {
		s.record("a", id)
		s.record("b", id)
	}
	counts, notified := s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 6, Sent: 6, Delivered: 3, FailedAgain: 3}, counts, notified)
	assert.Equal(t, 3, s.Targets["a"].Count())
	assert.Equal(t, 3, files(t, s.TrackerPath, "superseded"))
	assert.Equal(t, 3, files(t, s.TrackerPath, "resolved"))
	record, err := s.Tracker.Get("a", "evt-1")
	require.NoError(t, err)
	assert.NotEqual(t, "run-before-a", record.RunID)
}

// TestReplay_CountsEachOutcomeWhileAnotherTargetIsDown: a run that waits for one target still
// counts the outcomes of its other deliveries. While the tracker is away, no outcome is counted.
func TestReplay_CountsEachOutcomeWhileAnotherTargetIsDown(t *testing.T) {
	s := startStage(t, `
targets:
  - name: mended
    url: $mended
  - name: rejects
    url: $rejects
  - name: down
    url: $down
    max_attempts: 100
`)
	s.Answer("rejects", http.StatusUnprocessableEntity)
	s.Targets["down"].Stop()
	for _, id := range []string{"evt-1", "evt-2"} {
		for name := range s.Targets {
			s.record(name, id)
		}
	}
	plan, _ := s.plan(deadletter.Filter{})
	var notified notices
	r := replay.New(plan, s.options(&notified))
	ended := make(chan error)
	go func() { ended <- r.Run(s.Ctx) }()
	want := replay.ByTarget{
		"mended": {Deliveries: 2, Sent: 2, Delivered: 2}, "rejects": {Deliveries: 2, Sent: 2, FailedAgain: 2}, "down": {Deliveries: 2, Sent: 2},
	}
	await.True(t, "the outcomes of two targets", func() bool { return assert.ObjectsAreEqual(want, r.ByTarget()) })

	away := s.TrackerPath + "-away"
	require.NoError(t, os.Rename(s.TrackerPath, away))
	await.True(t, "the line that the tracker is away", func() bool { return strings.Contains(notified.String(), "waiting for the tracker: read the records: ") })
	assert.Equal(t, want, r.ByTarget(), "a missing directory is not a delivery")
	require.NoError(t, os.Rename(away, s.TrackerPath))
	await.True(t, "the line that the tracker is back", func() bool { return strings.Contains(notified.String(), "the tracker answers again, after ") })

	require.NoError(t, s.Targets["down"].Start(s.Ctx))
	require.NoError(t, <-ended)
	assert.Equal(t, replay.Counts{Deliveries: 6, Sent: 6, Delivered: 4, FailedAgain: 2}, r.Counts(), notified.String())
}

// TestReplay_EndsOnceItsRunsHaveEnded, so that another replay may follow at once.
func TestReplay_EndsOnceItsRunsHaveEnded(t *testing.T) {
	s := startStage(t, oneTarget)
	s.Answer("a", http.StatusUnprocessableEntity)
	for i := range 20 {
		s.record("a", fmt.Sprint("evt-", i))
	}
	for range 5 {
		counts, notified := s.replay(deadletter.Filter{})
		assert.Equal(t, replay.Counts{Deliveries: 20, Sent: 20, FailedAgain: 20}, counts, notified)
	}
}

// TestReplay_TwoAtOnceSendNothingTwice: each skips the events that the other has in flight.
func TestReplay_TwoAtOnceSendNothingTwice(t *testing.T) {
	s := startStage(t, oneTarget)
	const events = 40
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	s.Targets["a"].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Delay: 20 * time.Millisecond} })
	var both sync.WaitGroup
	var notified [2]notices
	var replays [2]*replay.Replay
	for i := range replays {
		plan, _ := s.plan(deadletter.Filter{})
		assert.Equal(t, events, plan.Deliveries)
		replays[i] = replay.New(plan, s.options(&notified[i]))
	}
	for _, r := range replays {
		both.Go(func() { assert.NoError(t, r.Run(s.Ctx)) })
	}
	both.Wait()
	assert.Equal(t, events, s.Targets["a"].Count())
	assert.Equal(t, events, s.Targets["a"].Events())
	assert.Zero(t, files(t, s.TrackerPath))
	for i, r := range replays {
		counts := r.Counts()
		assert.Equal(t, events, counts.Delivered+counts.Skipped, notified[i].String())
	}
}

// TestReplay_SkipsAnEventWithAnOpenRun checks that the outcome of the open run is counted if the
// run ends before the replay does.
func TestReplay_SkipsAnEventWithAnOpenRun(t *testing.T) {
	s := newStage(t, oneTarget)
	s.record("a", "evt-1")
	in := s.Input("evt-1")
	in.Body = message("evt-1")
	s.Execute(fanout.ReplayOptions(in, fixture.TaskQueue, nil), in)
	counts, notified := s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 1, Skipped: 1}, counts)
	assert.Equal(t, "event evt-1 has an open run: skipped; look at workflow event-evt-1 in Temporal", notified)

	plan, _ := s.plan(deadletter.Filter{})
	notified2 := notices{}
	options := s.options(&notified2)
	options.Notify = func(line string) { // the open run continues once it is skipped
		notified2.add(line)
		s.StartWorkers()
		assert.NoError(t, s.Client.GetWorkflow(s.Ctx, fanout.WorkflowID("evt-1"), "").Get(s.Ctx, nil))
	}
	r := replay.New(plan, options)
	require.NoError(t, r.Run(s.Ctx))
	assert.Equal(t, replay.Counts{Deliveries: 1, Delivered: 1}, r.Counts())
	assert.Contains(t, notified2.String(), "skipped")
	assert.Equal(t, 1, s.Targets["a"].Count())
}

// TestReplay_DoesNotSendRecordsThatChangedAfterTheCount: a record may be resolved, discarded or
// superseded before its turn comes.
func TestReplay_DoesNotSendRecordsThatChangedAfterTheCount(t *testing.T) {
	s := startStage(t, oneTarget)
	for _, id := range []string{"evt-1", "evt-2", "evt-3", "evt-4"} {
		s.record("a", id)
	}
	unwanted := s.record("a", "evt-6")
	plan, _ := s.plan(deadletter.Filter{Reason: event.ReasonRejected})
	require.NoError(t, s.Tracker.Resolve(s.Ctx, "a", "evt-1", "run-of-another", time.Now()))
	again := s.record("a", "evt-2")
	again.RunID, again.Reason = "run-of-another", event.ReasonExpired
	require.NoError(t, s.Tracker.Record(s.Ctx, again))
	damaged := s.Tracker.File("a", "evt-3")
	require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o600))
	s.record("a", "evt-5") // was not counted
	_, err := s.Tracker.Discard(s.Ctx, unwanted, deadletter.DiscardNote{At: time.Now(), By: "kim", Note: "unwanted"})
	require.NoError(t, err)

	var notified notices
	r := replay.New(plan, s.options(&notified))
	require.NoError(t, r.Run(s.Ctx))
	counts := r.Counts()
	assert.Equal(t, replay.Counts{Deliveries: 5, Sent: 1, Delivered: 2, FailedAgain: 1}, counts, notified.String())
	assert.Equal(t, 2, counts.Left(), "the damaged one, and the discarded one")
	assert.Contains(t, notified.String(), "event evt-6: the record of target a was discarded meanwhile")
	assert.Equal(t, 1, s.Targets["a"].Count())
	assert.Len(t, s.Targets["a"].ByEvent("evt-4"), 1)
}

// TestReplay_ATerminatedRunLeavesTheRecordOpen checks that the delivery counts as left.
func TestReplay_ATerminatedRunLeavesTheRecordOpen(t *testing.T) {
	s := newStage(t, oneTarget)
	s.record("a", "evt-1")
	plan, _ := s.plan(deadletter.Filter{})
	var notified notices
	r := replay.New(plan, s.options(&notified))
	ended := make(chan error)
	go func() { ended <- r.Run(s.Ctx) }()
	await.True(t, "a run to terminate", func() bool { return s.Client.TerminateWorkflow(s.Ctx, fanout.WorkflowID("evt-1"), "", t.Name()) == nil })
	require.NoError(t, <-ended)
	assert.Equal(t, replay.Counts{Deliveries: 1, Sent: 1}, r.Counts())
	assert.Equal(t, 1, r.Counts().Left())
	assert.Equal(t, "event evt-1: its run ended as Terminated, and the record of target a is unchanged; look at workflow event-evt-1 in Temporal, and replay the event again",
		notified.String())
}

// TestPlan_ExcludesRecordsThatCannotBeSent checks that the reason and the cure are named, and that
// the other records are sent.
func TestPlan_ExcludesRecordsThatCannotBeSent(t *testing.T) {
	s := startStage(t, `
targets:
  - name: a
    url: $a
  - name: gone
    url: $gone
    state: retired
  - name: rests
    url: $rests
    state: paused
`)
	s.record("a", "evt-1")
	s.record("unknown", "evt-1")
	s.record("unknown", "evt-2")
	s.record("gone", "evt-1")
	s.record("rests", "evt-1")
	s.record(event.UndecodableTarget, "evt-3")
	s.record(event.OversizeTarget, "evt-4")
	cut := event.Cut(strings.Repeat("ü", 100))
	s.record(event.OversizeTarget, cut)
	s.record(event.ConflictTarget, "evt-7")
	empty := s.record("a", "evt-5")
	empty.Payload, empty.PayloadBase64 = nil, nil
	require.NoError(t, s.Tracker.Record(s.Ctx, empty))
	damaged := s.Tracker.File("a", "evt-6")
	require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o600))

	plan, named := s.plan(deadletter.Filter{})
	assert.Equal(t, 1, plan.Deliveries)
	var excluded []string
	for _, r := range plan.Excluded {
		excluded = append(excluded, r.String())
	}
	assert.ElementsMatch(t, []string{
		"unknown: 2 not sent: targets.yaml has no such target; add it there, or close its records with deadletter discard",
		"gone: 1 not sent: the target is retired; set state: active in targets.yaml",
		"rests: 1 not sent: the target is paused; set state: active in targets.yaml",
		"_undecodable: 1 not sent: the message is not JSON, so it is not an event; decode payload_base64 of the record (base64 -d) or read the message in Kafka, and correct the producer; then close the record with deadletter discard",
		"_oversize: 2 not sent: the message is too large for Temporal, and only Kafka has it; " +
			"take the message from Kafka to its targets by hand, or make the producer send less; then close the record with deadletter discard",
		"_conflict: 1 not sent: the event id of the message belongs to another event; " +
			"set FANOUT_EVENT_ID of ingest to an expression that gives each event an id of its own, such as event.id + \"-\" + event.type, " +
			"or correct the producer; send the payload to its targets by hand; then close the record with deadletter discard",
		"a: 1 not sent: the record has no payload; close it with deadletter discard",
		"damaged: 1 not sent: the file cannot be read as a dead letter, and is left unchanged; repair it or move it away",
	}, excluded)
	assert.Contains(t, named, damaged+": damaged dead letter")
	assert.Contains(t, named, s.Tracker.File("a", "evt-5")+" has no payload")
	assert.Contains(t, named, "_undecodable evt-3: Kafka topic t, partition 1, offset 7")
	assert.Contains(t, named, "_oversize "+cut+": Kafka topic t, partition 1, offset 7", "as it is listed")
	assert.Contains(t, named, "_conflict evt-7: Kafka topic t, partition 1, offset 7")

	counts, notified := s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 1, Sent: 1, Delivered: 1}, counts, notified)
	assert.Equal(t, 10, files(t, s.TrackerPath))
	left, err := os.ReadFile(damaged)
	require.NoError(t, err)
	assert.Equal(t, "{", string(left))
}

func TestReplay_StartsNoMoreRunsThanTheRate(t *testing.T) {
	s := startStage(t, oneTarget)
	const events = 11
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	plan, _ := s.plan(deadletter.Filter{})
	var notified notices
	options := s.options(&notified)
	options.Rate = 5
	r := replay.New(plan, options)
	began := time.Now()
	require.NoError(t, r.Run(s.Ctx))
	assert.Equal(t, events, r.Counts().Delivered, notified.String())
	assert.Greater(t, time.Since(began), time.Second, "10 intervals of 200 ms")
}

// TestReplay_StoppedWaitsForItsRunsAndLeavesTheRest checks that the next replay sends the rest.
func TestReplay_StoppedWaitsForItsRunsAndLeavesTheRest(t *testing.T) {
	s := startStage(t, oneTarget)
	const events = 30
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	s.Targets["a"].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Delay: 100 * time.Millisecond} })
	plan, _ := s.plan(deadletter.Filter{})
	var notified notices
	options := s.options(&notified)
	options.Rate = 4 // 7 s for all
	r := replay.New(plan, options)
	ctx, stop := context.WithCancel(s.Ctx)
	defer stop()
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	require.NoError(t, s.Targets["a"].Wait(s.Ctx, func(a *devstack.Target) bool { return a.Count() >= 3 }))
	stop()
	require.NoError(t, <-ended)
	counts := r.Counts()
	assert.Equal(t, counts.Sent, counts.Delivered, notified.String())
	assert.Less(t, counts.Sent, events)
	assert.Equal(t, events-counts.Delivered, counts.Left())
	assert.Equal(t, counts.Left(), files(t, s.TrackerPath))

	again, notified2 := s.replay(deadletter.Filter{})
	assert.Equal(t, counts.Left(), again.Delivered, notified2)
	assert.Equal(t, events, s.Targets["a"].Count())
	assert.Equal(t, events, s.Targets["a"].Events())
}

// TestReplay_WaitsForTemporalWhileItIsAway kills the server while the replay starts runs and waits
// for outcomes.
func TestReplay_WaitsForTemporalWhileItIsAway(t *testing.T) {
	t.Parallel()
	s := &stage{fixture.Start(t, fixture.Options{Targets: oneTarget, Durable: true})}
	const events = 60
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	plan, _ := s.plan(deadletter.Filter{})
	var notified notices
	options := s.options(&notified)
	options.Rate = 30
	r := replay.New(plan, options)
	ended := make(chan error)
	go func() { ended <- r.Run(s.Ctx) }()
	require.NoError(t, s.Targets["a"].Wait(s.Ctx, func(a *devstack.Target) bool { return a.Count() >= 5 }))
	s.Server.Kill()
	await.True(t, "the line that Temporal is away", func() bool { return strings.Contains(notified.String(), "waiting for Temporal") })
	require.NoError(t, s.Server.Start(s.Ctx))
	require.NoError(t, <-ended)
	assert.Equal(t, replay.Counts{Deliveries: events, Sent: events, Delivered: events}, r.Counts(), notified.String())
	assert.Contains(t, notified.String(), "Temporal answers again")
	assert.Equal(t, events, s.Targets["a"].Events())
	assert.Zero(t, files(t, s.TrackerPath))
}

// TestPlan_EachListsTheRunsWithoutStartingThem checks that targets share a run if their records
// have the same message.
func TestPlan_EachListsTheRunsWithoutStartingThem(t *testing.T) {
	s := newStage(t, twoTargets)
	s.record("a", "evt-1")
	s.record("b", "evt-1")
	s.record("a", "evt-2")
	changed := s.record("b", "evt-2")
	deadletter.SetPayload(&changed, []byte(`{"event_id":"evt-2"}`))
	require.NoError(t, s.Tracker.Record(s.Ctx, changed))
	plan, _ := s.plan(deadletter.Filter{})
	var got []string
	for e, err := range plan.Each(s.Ctx) {
		require.NoError(t, err)
		slices.Sort(e.Targets)
		got = append(got, e.ID+" "+strings.Join(e.Targets, ","))
	}
	assert.ElementsMatch(t, []string{"evt-1 a,b", "evt-2 a", "evt-2 b"}, got, "another message is another run")
	assert.Equal(t, 4, files(t, s.TrackerPath))
}
