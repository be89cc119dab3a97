package replay_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/history"
	"genesys-fanout/internal/queues"
	"genesys-fanout/replay"
	"genesys-fanout/target"
)

var quiet = slog.New(slog.DiscardHandler)

// stage is FanOut with its workers on a real server, a real tracker, and scripted
// targets.
type stage struct {
	t       *testing.T
	ctx     context.Context
	server  *devstack.Temporal
	client  client.Client
	set     *target.Set
	targets map[string]*devstack.Target
	path    string // of the tracker
	tracker *deadletter.Directory
}

// startStage serves the named targets, each active unless the name says
// otherwise: "name:retired".
func startStage(t *testing.T, named ...string) *stage {
	t.Helper()
	t.Parallel()
	ctx := await.Context(t)
	s := &stage{t: t, ctx: ctx, targets: map[string]*devstack.Target{}, path: t.TempDir()}
	var err error
	s.server, err = devstack.StartTemporal(ctx, devstack.TemporalOptions{DBFile: filepath.Join(t.TempDir(), "temporal.db")})
	require.NoError(t, err)
	t.Cleanup(s.server.Close)
	s.client, err = client.DialContext(ctx, client.Options{
		HostPort: s.server.Address(), Namespace: devstack.Namespace, DataConverter: fanout.DataConverter(), Logger: log.NewStructuredLogger(quiet),
	})
	require.NoError(t, err)
	t.Cleanup(s.client.Close)
	s.tracker, err = deadletter.Open(s.path)
	require.NoError(t, err)
	var file strings.Builder
	file.WriteString("targets:\n")
	for _, one := range named {
		name, state, found := strings.Cut(one, ":")
		if !found {
			state = "active"
		}
		s.targets[name], err = devstack.StartTarget(ctx, devstack.TargetOptions{KeepBodies: true, Headers: []string{"Idempotency-Key", "X-Genesys-Event-Type", "X-Genesys-Interaction-ID"}})
		require.NoError(t, err)
		t.Cleanup(s.targets[name].Close)
		await.Watch(t, name, func() any { return s.targets[name].Progress() })
		fmt.Fprintf(&file, "  - {name: %s, url: %q, state: %s, max_attempts: 100}\n", name, s.targets[name].URL(), state)
	}
	s.set, err = target.Parse("targets.yaml", []byte(file.String()), nil)
	require.NoError(t, err)
	return s
}

// serve starts the workers.
func (s *stage) serve() *stage {
	s.t.Helper()
	reader := history.Reader{Client: s.client, Namespace: devstack.Namespace, DataConverter: fanout.DataConverter()}
	acts := activities.New(activities.Options{Targets: s.set, Tracker: s.tracker, Logger: quiet, Messages: reader, Runs: reader})
	process := queues.Config{Client: s.client, TaskQueue: fanout.DefaultTaskQueue, Targets: s.set, Activities: acts, Log: quiet}
	workers := []*queues.Worker{process.WorkflowWorker(prometheus.NewRegistry()), process.DeadLetterWorker()}
	for _, t := range s.set.All() {
		workers = append(workers, process.RetryLaneWorker(t))
	}
	var stopped sync.WaitGroup
	s.t.Cleanup(stopped.Wait)
	for _, w := range workers {
		require.NoError(s.t, w.Start())
		s.t.Cleanup(func() { stopped.Go(w.Stop) })
	}
	return s
}

// record leaves a dead letter of an earlier run.
func (s *stage) record(target, id string) deadletter.Record {
	s.t.Helper()
	record := deadletter.Record{
		EventID: id, TargetName: target, Error: "422", Reason: event.ReasonRejected, StatusCode: 422, Attempts: 1, Timestamp: time.Now().UTC(),
		EventType: "conversation.started", InteractionID: "i-1", WorkflowID: fanout.WorkflowID(id), RunID: "run-before-" + target,
		Source: event.Source{Topic: "t", Partition: 1, Offset: 7},
	}
	deadletter.SetPayload(&record, message(id))
	require.NoError(s.t, s.tracker.Record(s.ctx, record))
	return record
}

// message has what re-encoding would change.
func message(id string) []byte {
	return []byte(`{ "event_id":"` + id + `","n":1.0, "text":"a < b & c","event_type":"of the message" }`)
}

// notices collects lines.
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

// count plans a replay.
func (s *stage) count(filter deadletter.Filter) (*replay.Plan, string) {
	s.t.Helper()
	reader, err := deadletter.OpenExisting(s.path)
	require.NoError(s.t, err)
	var named notices
	plan, err := replay.NewPlan(s.ctx, replay.Selection{Directory: reader, Targets: s.set, Filter: filter}, named.add)
	require.NoError(s.t, err)
	return plan, named.String()
}

func (s *stage) options(told *notices) replay.Options {
	return replay.Options{Client: s.client, TaskQueue: fanout.DefaultTaskQueue, Rate: 1000, Notify: told.add}
}

// replay counts and sends all that the filter chooses.
func (s *stage) replay(filter deadletter.Filter) (replay.Counts, string) {
	s.t.Helper()
	plan, _ := s.count(filter)
	var told notices
	r := replay.New(plan, s.options(&told))
	require.NoError(s.t, r.Run(s.ctx))
	return r.Counts(), told.String()
}

func (s *stage) runs(id string) int64 {
	s.t.Helper()
	var count int64
	await.True(s.t, "the runs of "+id+" in the list of runs", func() bool {
		answer, err := s.client.CountWorkflow(s.ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowId = '" + fanout.WorkflowID(id) + "'"})
		if err == nil {
			count = answer.GetCount()
		}
		return count > 0
	})
	return count
}

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

func unprocessable(devstack.Request) devstack.Answer {
	return devstack.Answer{Status: http.StatusUnprocessableEntity}
}

// TestOneRunForAllTargetsOfAnEvent, with the message and the names of the record;
// what is resolved then is not sent again.
func TestOneRunForAllTargetsOfAnEvent(t *testing.T) {
	s := startStage(t, "a", "b", "c").serve()
	for _, id := range []string{"evt-1", "evt-2"} {
		for _, name := range []string{"a", "b", "c"} {
			s.record(name, id)
		}
	}
	s.record("c", "evt-3")
	plan, _ := s.count(deadletter.Filter{})
	assert.Equal(t, 3, plan.Events)
	assert.Equal(t, 7, plan.Deliveries)
	assert.Equal(t, 3, plan.Kinds[replay.Kind{Target: "c", Reason: event.ReasonRejected}])

	counts, told := s.replay(deadletter.Filter{Target: "c", EventID: "evt-1"})
	assert.Equal(t, replay.Counts{Deliveries: 1, Sent: 1, Delivered: 1}, counts, told)
	assert.Zero(t, s.targets["a"].Count())

	counts, told = s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 6, Sent: 6, Delivered: 6}, counts, told)
	assert.Empty(t, told)
	for name, ids := range map[string][]string{"a": {"evt-1", "evt-2"}, "b": {"evt-1", "evt-2"}, "c": {"evt-1", "evt-2", "evt-3"}} {
		assert.Equal(t, len(ids), s.targets[name].Count())
		for _, id := range ids {
			requests := s.targets[name].ByEvent(id)
			require.Len(t, requests, 1)
			assert.Equal(t, string(message(id)), string(requests[0].Body))
			assert.Equal(t, id, requests[0].Header.Get("Idempotency-Key"))
			assert.Equal(t, "conversation.started", requests[0].Header.Get("X-Genesys-Event-Type"), "of the record")
			assert.Equal(t, "i-1", requests[0].Header.Get("X-Genesys-Interaction-ID"))
		}
	}
	assert.Zero(t, files(t, s.path))
	assert.Equal(t, 7, files(t, s.path, "resolved"))
	assert.EqualValues(t, 2, s.runs("evt-1"))
	assert.EqualValues(t, 1, s.runs("evt-2"))
	counts, _ = s.replay(deadletter.Filter{})
	assert.Zero(t, counts)
}

// TestFailsAgain: the newer record takes the older one's place, and is not sent
// by the same replay.
func TestFailsAgain(t *testing.T) {
	s := startStage(t, "a", "b").serve()
	s.targets["a"].SetScript(unprocessable)
	for _, id := range []string{"evt-1", "evt-2", "evt-3"} {
		s.record("a", id)
		s.record("b", id)
	}
	counts, told := s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 6, Sent: 6, Delivered: 3, FailedAgain: 3}, counts, told)
	assert.Equal(t, 3, s.targets["a"].Count())
	assert.Equal(t, 3, files(t, s.path, "superseded"))
	assert.Equal(t, 3, files(t, s.path, "resolved"))
	record, err := s.tracker.Get("a", "evt-1")
	require.NoError(t, err)
	assert.NotEqual(t, "run-before-a", record.RunID)
}

// TestReplay_LearnsEachOutcomeWhileAnotherTargetIsDown: a run that waits for one
// target says what became of its others. A tracker that is away says nothing.
func TestReplay_LearnsEachOutcomeWhileAnotherTargetIsDown(t *testing.T) {
	s := startStage(t, "mended", "rejects", "down").serve()
	s.targets["rejects"].SetScript(unprocessable)
	s.targets["down"].Stop()
	for _, id := range []string{"evt-1", "evt-2"} {
		for name := range s.targets {
			s.record(name, id)
		}
	}
	plan, _ := s.count(deadletter.Filter{})
	var told notices
	r := replay.New(plan, s.options(&told))
	ended := make(chan error)
	go func() { ended <- r.Run(s.ctx) }()
	want := replay.ByTarget{
		"mended": {Deliveries: 2, Sent: 2, Delivered: 2}, "rejects": {Deliveries: 2, Sent: 2, FailedAgain: 2}, "down": {Deliveries: 2, Sent: 2},
	}
	await.True(t, "the outcomes of two targets", func() bool { return assert.ObjectsAreEqual(want, r.ByTarget()) })

	away := s.path + "-away"
	require.NoError(t, os.Rename(s.path, away))
	await.True(t, "the line that the tracker is away", func() bool { return strings.Contains(told.String(), "waiting for the tracker: read the records: ") })
	assert.Equal(t, want, r.ByTarget(), "what cannot be seen is not delivered")
	require.NoError(t, os.Rename(away, s.path))
	await.True(t, "the line that the tracker is back", func() bool { return strings.Contains(told.String(), "the tracker answers again, after ") })

	require.NoError(t, s.targets["down"].Start(s.ctx))
	require.NoError(t, <-ended)
	assert.Equal(t, replay.Counts{Deliveries: 6, Sent: 6, Delivered: 4, FailedAgain: 2}, r.Counts(), told.String())
}

// TestReplay_EndsOnceItsRunsHaveEnded, so that another one may follow at once.
func TestReplay_EndsOnceItsRunsHaveEnded(t *testing.T) {
	s := startStage(t, "a").serve()
	s.targets["a"].SetScript(unprocessable)
	for i := range 20 {
		s.record("a", fmt.Sprint("evt-", i))
	}
	for range 5 {
		counts, told := s.replay(deadletter.Filter{})
		assert.Equal(t, replay.Counts{Deliveries: 20, Sent: 20, FailedAgain: 20}, counts, told)
	}
}

// TestTwoAtOnce: what one of them has in flight the other skips, and nothing is
// sent twice.
func TestTwoAtOnce(t *testing.T) {
	s := startStage(t, "a").serve()
	const events = 40
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	s.targets["a"].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Delay: 20 * time.Millisecond} })
	var both sync.WaitGroup
	var told [2]notices
	var replays [2]*replay.Replay
	for i := range replays {
		plan, _ := s.count(deadletter.Filter{})
		assert.Equal(t, events, plan.Deliveries)
		replays[i] = replay.New(plan, s.options(&told[i]))
	}
	for _, r := range replays {
		both.Go(func() { assert.NoError(t, r.Run(s.ctx)) })
	}
	both.Wait()
	assert.Equal(t, events, s.targets["a"].Count())
	assert.Equal(t, events, s.targets["a"].Events())
	assert.Zero(t, files(t, s.path))
	for i, r := range replays {
		counts := r.Counts()
		assert.Equal(t, events, counts.Delivered+counts.Skipped, told[i].String())
	}
}

// TestOpenRun is skipped; what it makes of its delivery meanwhile counts.
func TestOpenRun(t *testing.T) {
	s := startStage(t, "a")
	s.record("a", "evt-1")
	in := fanout.Input{Message: event.Message{Event: event.Event{ID: "evt-1"}, Body: message("evt-1")}, Targets: []target.Policy{s.set.All()[0].Policy}}
	_, err := s.client.ExecuteWorkflow(s.ctx, fanout.ReplayOptions(in, fanout.DefaultTaskQueue, nil), fanout.WorkflowName, in)
	require.NoError(t, err)
	counts, told := s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 1, Skipped: 1}, counts)
	assert.Equal(t, "event evt-1 has an open run: skipped; look at workflow event-evt-1 in Temporal", told)

	plan, _ := s.count(deadletter.Filter{})
	told2 := notices{}
	options := s.options(&told2)
	options.Notify = func(line string) { // the open run goes on once it is skipped
		told2.add(line)
		s.serve()
		assert.NoError(t, s.client.GetWorkflow(s.ctx, fanout.WorkflowID("evt-1"), "").Get(s.ctx, nil))
	}
	r := replay.New(plan, options)
	require.NoError(t, r.Run(s.ctx))
	assert.Equal(t, replay.Counts{Deliveries: 1, Delivered: 1}, r.Counts())
	assert.Contains(t, told2.String(), "skipped")
	assert.Equal(t, 1, s.targets["a"].Count())
}

// TestOthersWereFaster: what was counted may be resolved, discarded or recorded anew
// before its turn comes, and is not sent then.
func TestOthersWereFaster(t *testing.T) {
	s := startStage(t, "a").serve()
	for _, id := range []string{"evt-1", "evt-2", "evt-3", "evt-4"} {
		s.record("a", id)
	}
	unwanted := s.record("a", "evt-6")
	plan, _ := s.count(deadletter.Filter{Reason: event.ReasonRejected})
	require.NoError(t, s.tracker.Resolve(s.ctx, "a", "evt-1", "run-of-another", time.Now()))
	again := s.record("a", "evt-2")
	again.RunID, again.Reason = "run-of-another", event.ReasonExpired
	require.NoError(t, s.tracker.Record(s.ctx, again))
	damaged := s.tracker.File("a", "evt-3")
	require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o600))
	s.record("a", "evt-5") // was not counted
	_, err := s.tracker.Discard(s.ctx, unwanted, deadletter.DiscardNote{At: time.Now(), By: "kim", Note: "unwanted"})
	require.NoError(t, err)

	var told notices
	r := replay.New(plan, s.options(&told))
	require.NoError(t, r.Run(s.ctx))
	counts := r.Counts()
	assert.Equal(t, replay.Counts{Deliveries: 5, Sent: 1, Delivered: 2, FailedAgain: 1}, counts, told.String())
	assert.Equal(t, 2, counts.Left(), "the damaged one, and the discarded one")
	assert.Contains(t, told.String(), "event evt-6: the record of target a was discarded meanwhile")
	assert.Equal(t, 1, s.targets["a"].Count())
	assert.Len(t, s.targets["a"].ByEvent("evt-4"), 1)
}

// TestARunThatIsTerminated leaves the record as it was.
func TestARunThatIsTerminated(t *testing.T) {
	s := startStage(t, "a")
	s.record("a", "evt-1")
	plan, _ := s.count(deadletter.Filter{})
	var told notices
	r := replay.New(plan, s.options(&told))
	ended := make(chan error)
	go func() { ended <- r.Run(s.ctx) }()
	await.True(t, "a run to terminate", func() bool { return s.client.TerminateWorkflow(s.ctx, fanout.WorkflowID("evt-1"), "", t.Name()) == nil })
	require.NoError(t, <-ended)
	assert.Equal(t, replay.Counts{Deliveries: 1, Sent: 1}, r.Counts())
	assert.Equal(t, 1, r.Counts().Left())
	assert.Equal(t, "event evt-1: its run ended as Terminated, and the record of target a is unchanged; look at workflow event-evt-1 in Temporal, and replay the event again",
		told.String())
}

// TestReportsRecordsThatAreNotSent, and sends the others.
func TestReportsRecordsThatAreNotSent(t *testing.T) {
	s := startStage(t, "a", "gone:retired", "rests:paused").serve()
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
	require.NoError(t, s.tracker.Record(s.ctx, empty))
	damaged := s.tracker.File("a", "evt-6")
	require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o600))

	plan, named := s.count(deadletter.Filter{})
	assert.Equal(t, 1, plan.Deliveries)
	var excluded []string
	for _, r := range plan.Excluded {
		excluded = append(excluded, r.String())
	}
	assert.ElementsMatch(t, []string{
		"unknown: 2 not sent: targets.yaml has no such target; add it there, or close its records with deadletter discard",
		"gone: 1 not sent: the target is retired; set state: active in targets.yaml",
		"rests: 1 not sent: the target is paused; set state: active in targets.yaml",
		"_undecodable: 1 not sent: the message is not JSON, so it is not an event; read the message in Kafka and correct the producer; then close the record with deadletter discard",
		"_oversize: 2 not sent: the message is too large for Temporal, and only Kafka has it; " +
			"take the message from Kafka to its targets by hand, or make the producer send less; then close the record with deadletter discard",
		"_conflict: 1 not sent: the event id of the message belongs to another event; " +
			"set FANOUT_EVENT_ID of ingest to an expression that gives each event an id of its own, such as event.id + \"-\" + event.type, " +
			"or correct the producer; send the payload to its targets by hand; then close the record with deadletter discard",
		"a: 1 not sent: the record has no payload; close it with deadletter discard",
		"damaged: 1 not sent: the file cannot be read as a dead letter, and is left unchanged; repair it or move it away",
	}, excluded)
	assert.Contains(t, named, damaged+": damaged dead letter")
	assert.Contains(t, named, s.tracker.File("a", "evt-5")+" has no payload")
	assert.Contains(t, named, "_undecodable evt-3: Kafka topic t, partition 1, offset 7")
	assert.Contains(t, named, "_oversize "+cut+": Kafka topic t, partition 1, offset 7", "as it is listed")
	assert.Contains(t, named, "_conflict evt-7: Kafka topic t, partition 1, offset 7")

	counts, told := s.replay(deadletter.Filter{})
	assert.Equal(t, replay.Counts{Deliveries: 1, Sent: 1, Delivered: 1}, counts, told)
	assert.Equal(t, 10, files(t, s.path))
	left, err := os.ReadFile(damaged)
	require.NoError(t, err)
	assert.Equal(t, "{", string(left))
}

// TestRate: no more starts than asked for.
func TestRate(t *testing.T) {
	s := startStage(t, "a").serve()
	const events = 11
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	plan, _ := s.count(deadletter.Filter{})
	var told notices
	options := s.options(&told)
	options.Rate = 5
	r := replay.New(plan, options)
	began := time.Now()
	require.NoError(t, r.Run(s.ctx))
	assert.Equal(t, events, r.Counts().Delivered, told.String())
	assert.Greater(t, time.Since(began), time.Second, "10 intervals of 200 ms")
}

// TestStoppedGoesOn: what is started is waited for, and what is left comes with
// the next replay.
func TestStoppedGoesOn(t *testing.T) {
	s := startStage(t, "a").serve()
	const events = 30
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	s.targets["a"].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Delay: 100 * time.Millisecond} })
	plan, _ := s.count(deadletter.Filter{})
	var told notices
	options := s.options(&told)
	options.Rate = 4 // 7 s for all
	r := replay.New(plan, options)
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	require.NoError(t, s.targets["a"].Wait(s.ctx, func(a *devstack.Target) bool { return a.Count() >= 3 }))
	stop()
	require.NoError(t, <-ended)
	counts := r.Counts()
	assert.Equal(t, counts.Sent, counts.Delivered, told.String())
	assert.Less(t, counts.Sent, events)
	assert.Equal(t, events-counts.Delivered, counts.Left())
	assert.Equal(t, counts.Left(), files(t, s.path))

	again, told2 := s.replay(deadletter.Filter{})
	assert.Equal(t, counts.Left(), again.Delivered, told2)
	assert.Equal(t, events, s.targets["a"].Count())
	assert.Equal(t, events, s.targets["a"].Events())
}

// TestTemporalAway while starts and outcomes are waited for.
func TestTemporalAway(t *testing.T) {
	s := startStage(t, "a").serve()
	const events = 60
	for i := range events {
		s.record("a", fmt.Sprint("evt-", i))
	}
	plan, _ := s.count(deadletter.Filter{})
	var told notices
	options := s.options(&told)
	options.Rate = 30
	r := replay.New(plan, options)
	ended := make(chan error)
	go func() { ended <- r.Run(s.ctx) }()
	require.NoError(t, s.targets["a"].Wait(s.ctx, func(a *devstack.Target) bool { return a.Count() >= 5 }))
	s.server.Kill()
	await.True(t, "the line that Temporal is away", func() bool { return strings.Contains(told.String(), "waiting for Temporal") })
	require.NoError(t, s.server.Start(s.ctx))
	require.NoError(t, <-ended)
	assert.Equal(t, replay.Counts{Deliveries: events, Sent: events, Delivered: events}, r.Counts(), told.String())
	assert.Contains(t, told.String(), "Temporal answers again")
	assert.Equal(t, events, s.targets["a"].Events())
	assert.Zero(t, files(t, s.path))
}

// TestEachSendsNothing and tells what would be sent.
func TestEachSendsNothing(t *testing.T) {
	s := startStage(t, "a", "b")
	s.record("a", "evt-1")
	s.record("b", "evt-1")
	s.record("a", "evt-2")
	changed := s.record("b", "evt-2")
	deadletter.SetPayload(&changed, []byte(`{"event_id":"evt-2"}`))
	require.NoError(t, s.tracker.Record(s.ctx, changed))
	plan, _ := s.count(deadletter.Filter{})
	var got []string
	for e, err := range plan.Each(s.ctx) {
		require.NoError(t, err)
		slices.Sort(e.Targets)
		got = append(got, e.ID+" "+strings.Join(e.Targets, ","))
	}
	assert.ElementsMatch(t, []string{"evt-1 a,b", "evt-2 a", "evt-2 b"}, got, "another message is another run")
	assert.Equal(t, 4, files(t, s.path))
}
