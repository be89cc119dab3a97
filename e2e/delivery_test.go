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
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
)

const threeTargets = `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION}
  - {name: compliance, url: $COMPLIANCE}
`

// TestEveryEventReachesEveryTarget: the healthy case, with what a target sees.
func TestEveryEventReachesEveryTarget(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok, "compliance": ok}, threeTargets)
	worker, ingest := s.run("worker"), s.run("ingest")
	s.publish(0, 40)
	for name := range s.targets {
		s.waitFor(name, hasEvents(40))
		s.exactlyOnce(name, 40)
	}
	s.waitCommitted(40)
	s.waitStatus(s.id(0), enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)

	r := s.targets["analytics"].ByEvent(s.id(7))[0]
	assert.Equal(t, sha256.Sum256(flat(s.id(7), "conversation.started")), r.SHA256, "the bytes of the message")
	assert.Equal(t, s.id(7), r.Header.Get("Idempotency-Key"))
	assert.Equal(t, "conversation.started", r.Header.Get("X-Genesys-Event-Type"))
	assert.Equal(t, "conv-"+s.id(7), r.Header.Get("X-Genesys-Interaction-ID"))
	assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
	assert.Equal(t, 1, r.Attempt)

	assert.InDelta(t, 40, s.metric(ingest, `fanout_events_consumed_total{format="flat"}`), 0)
	assert.InDelta(t, 40, s.metric(ingest, `fanout_workflows_started_total{result="started"}`), 0)
	// The first attempts are made where the runs start, but for one whose start found no free task.
	sum := func(sample string) float64 { return s.metric(worker, sample) + s.metric(ingest, sample) }
	assert.InDelta(t, 40, sum(`fanout_deliveries_total{lane="fast",outcome="delivered",target="analytics"}`), 0)
	s.eventually(func() bool { return sum("fanout_event_age_seconds_count") == 40 }, "the age of each event is counted")
	assert.Positive(t, s.metric(ingest, `fanout_deliveries_total{lane="fast",outcome="delivered",target="analytics"}`))
}

// TestWithoutEagerStart: ingest sends no request and needs no target's secrets.
func TestWithoutEagerStart(t *testing.T) {
	t.Parallel()
	var withToken atomic.Int32
	s := newStack(t, targetScripts{"analytics": func(r devstack.Request) devstack.Answer {
		if r.Header.Get("Authorization") == "Bearer for-the-target" {
			withToken.Add(1)
		}
		return devstack.Answer{Status: http.StatusOK}
	}}, "  - {name: analytics, url: $ANALYTICS, headers: {Authorization: 'Bearer ${TOKEN}'}}\n")
	worker, ingest := s.run("worker", "TOKEN=for-the-target"), s.run("ingest", "FANOUT_EAGER_START=false")
	s.publish(0, 20)
	s.exactlyOnce("analytics", 20)
	assert.EqualValues(t, 20, withToken.Load())
	assert.InDelta(t, 20, s.metric(worker, `fanout_deliveries_total{lane="fast",outcome="delivered",target="analytics"}`), 0)
	assert.NotContains(t, s.get(ingest, "/metrics"), "fanout_deliveries_total")
}

// TestTheRequestTable holds each row of the contract's table against the
// processes: what is retried arrives, what is rejected is a dead letter.
func TestTheRequestTable(t *testing.T) {
	t.Parallel()
	once := func(first devstack.Answer) devstack.Script {
		var n atomic.Int32
		return func(devstack.Request) devstack.Answer {
			if n.Add(1) == 1 {
				return first
			}
			return devstack.Answer{Status: http.StatusOK}
		}
	}
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	scripts := targetScripts{
		"accepted": status(http.StatusAccepted),
		"seconds":  once(devstack.Answer{Status: 429, Header: header("Retry-After", "4")}),
		"date":     once(devstack.Answer{Status: 429, Header: header("Retry-After", time.Now().Add(12*time.Second).UTC().Format(http.TimeFormat))}),
		"bare":     once(devstack.Answer{Status: 429}),
		"listed":   once(devstack.Answer{Status: 503}),
		"reset":    once(devstack.Answer{Reset: true}),
		"hang":     once(devstack.Answer{Hang: true}),
		"e400":     status(400), "e404": status(404), "e500": status(500), "e503": status(503),
		"moved": func(devstack.Request) devstack.Answer {
			return devstack.Answer{Status: 307, Header: header("Location", "http://127.0.0.1:1/")}
		},
		"always": func(devstack.Request) devstack.Answer {
			return devstack.Answer{Status: 429, Header: header("Retry-After", "1"), Body: "slow down"}
		},
	}
	var yaml strings.Builder
	for name := range scripts {
		yaml.WriteString("  - {name: " + name + ", url: $" + strings.ToUpper(name) + ", timeout: 2s")
		if name == "listed" {
			yaml.WriteString(", retry_statuses: [429, 503]")
		}
		yaml.WriteString("}\n")
	}
	s := newStack(t, scripts, yaml.String())
	s.run("worker")
	s.run("ingest")
	s.publish(0, 1)

	for name, floor := range map[string]time.Duration{"seconds": 4 * time.Second, "date": 0, "bare": 2 * time.Second, "listed": 2 * time.Second, "reset": 2 * time.Second, "hang": 2 * time.Second} {
		s.waitFor(name, func(target *devstack.Target) bool { return target.Count() == 2 })
		requests := s.targets[name].Requests()
		assert.GreaterOrEqual(t, requests[1].Time.Sub(requests[0].Time), floor, name)
		assert.Equal(t, 2, requests[1].Attempt, name)
	}
	for name, want := range map[string]deadletter.Record{
		"e400":   {Reason: event.ReasonRejected, StatusCode: 400, Attempts: 1, Error: "400 Bad Request: answer Bad Request"},
		"e404":   {Reason: event.ReasonRejected, StatusCode: 404, Attempts: 1, Error: "404 Not Found: answer Not Found"},
		"e500":   {Reason: event.ReasonRejected, StatusCode: 500, Attempts: 1, Error: "500 Internal Server Error: answer Internal Server Error"},
		"e503":   {Reason: event.ReasonRejected, StatusCode: 503, Attempts: 1, Error: "503 Service Unavailable: answer Service Unavailable"},
		"moved":  {Reason: event.ReasonRejected, StatusCode: 307, Attempts: 1, Error: "307 Temporary Redirect"},
		"always": {Reason: event.ReasonExhausted, StatusCode: 429, Attempts: 3, Error: "429 Too Many Requests: slow down"},
	} {
		got := s.record(name, s.id(0))
		assert.Equal(t, want.Reason, got.Reason, name)
		assert.Equal(t, want.StatusCode, got.StatusCode, name)
		assert.Equal(t, want.Attempts, got.Attempts, name)
		assert.Equal(t, want.Error, got.Error, name)
		assert.Equal(t, flat(s.id(0), "conversation.started"), got.Message(), name)
		assert.Equal(t, s.name, got.Source.Topic)
		assert.Equal(t, fanout.WorkflowID(s.id(0)), got.WorkflowID)
		assert.Equal(t, got.Attempts, s.targets[name].Count(), name)
	}
	s.waitStatus(s.id(0), enums.WORKFLOW_EXECUTION_STATUS_FAILED)
	assert.Len(t, s.records(), 6)
	s.eventually(func() bool {
		found, err := s.client.CountWorkflow(s.ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: `ExecutionStatus="Failed" AND DeadLetterTargets="e500" AND DeadLetterTargets="always" AND EventType="conversation.started" AND ChannelType="voice" AND InteractionId="conv-` + s.id(0) + `"`,
		})
		return err == nil && found.GetCount() == 1
	}, "the failed run is found by its search attributes")
}

// TestA429HoldsTheWholeTarget: while the gate is closed nothing is sent to that
// target, nothing is spent, and the others go on.
func TestA429HoldsTheWholeTarget(t *testing.T) {
	t.Parallel()
	const closed = 6 * time.Second
	var first atomic.Int64
	s := newStack(t, targetScripts{"analytics": ok, "notification": func(devstack.Request) devstack.Answer {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			return devstack.Answer{Status: 429, Header: http.Header{"Retry-After": {"6"}}}
		}
		return devstack.Answer{Status: http.StatusOK, Delay: 100 * time.Millisecond}
	}}, "  - {name: analytics, url: $ANALYTICS}\n  - {name: notification, url: $NOTIFICATION, max_attempts: 2}\n")
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	s.waitFor("notification", hasEvents(1))
	s.publish(1, 30)
	s.waitFor("analytics", hasEvents(31))
	assert.InDelta(t, 1, s.metric(worker, `fanout_target_held{target="notification"}`), 0)
	assert.Equal(t, 1, s.targets["notification"].Count(), "nothing more is sent while the gate is closed")
	s.waitFor("notification", hasEvents(31))
	s.exactlyOnce("notification", 31)
	requests := s.targets["notification"].Requests()
	opened := time.Unix(0, first.Load()).Add(closed)
	assert.False(t, requests[1].Time.Before(opened), "Retry-After is a floor")
	assert.GreaterOrEqual(t, requests[2].Time.Sub(requests[1].Time), 100*time.Millisecond, "one goes out, and the next only after its answer")
	for i := range 31 {
		s.waitStatus(s.id(i), enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	}
	assert.Empty(t, s.records())
}

// TestAnOutageCostsTheOthersNothing: a target that is away for long gets all of
// its events afterwards, with few attempts spent and no dead letter.
func TestAnOutageCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	outage := map[string]struct {
		answer devstack.Answer
		down   bool
	}{
		"refusing": {down: true},
		"failing":  {answer: devstack.Answer{Status: http.StatusServiceUnavailable}},
		"hanging":  {answer: devstack.Answer{Hang: true}},
	}
	for kind, away := range outage {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": ok, "notification": func(devstack.Request) devstack.Answer { return away.answer }}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, max_attempts: 4, timeout: 2s, retry_statuses: [429, 503]}
`)
			worker := s.run("worker")
			s.run("ingest")
			if away.down {
				s.targets["notification"].Stop()
			}
			s.publish(0, 200)
			s.exactlyOnce("analytics", 200)
			s.eventually(func() bool {
				return s.metric(worker, `fanout_deliveries_total{lane="retry",outcome="held",target="notification"}`) >= 3
			}, "probes go out")
			assert.InDelta(t, 1, s.metric(worker, `fanout_target_held{target="notification"}`), 0)
			// At most 32 of the fast lane and 64 of the retry lane were out when it went away.
			assert.Less(t, s.targets["notification"].Count(), 32+64+32, "a target that is away is left alone")

			s.targets["notification"].SetScript(ok)
			require.NoError(t, s.targets["notification"].Start(s.ctx))
			s.exactlyOnce("notification", 200)
			assert.Empty(t, s.records())
		})
	}
}

func TestMaxAgeEndsInExpired(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, max_age: 8s, max_attempts: 100, backoff: {initial: 1s, max: 1s}}
`)
	s.targets["notification"].Stop()
	s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	got := s.record("notification", s.id(0))
	assert.Equal(t, event.ReasonExpired, got.Reason)
	assert.Contains(t, got.Error, "max_age")
	assert.Contains(t, got.Error, "connection refused", "the last failure is told too")
	s.waitStatus(s.id(0), enums.WORKFLOW_EXECUTION_STATUS_FAILED)
}

// TestATargetTakenOutOfTheFile: what waits for it waits on, and is delivered when
// a worker knows it again.
func TestATargetTakenOutOfTheFile(t *testing.T) {
	t.Parallel()
	both := "  - {name: analytics, url: $ANALYTICS}\n  - {name: notification, url: $NOTIFICATION, backoff: {initial: 1s}}\n"
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, both)
	s.targets["notification"].Stop()
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 5)
	s.waitFor("analytics", hasEvents(5))
	stop(t, worker)

	s.writeTargets("  - {name: analytics, url: $ANALYTICS}\n")
	worker = s.run("worker")
	s.publish(5, 1)
	s.waitFor("analytics", hasEvents(6))
	stop(t, worker)

	require.NoError(t, s.targets["notification"].Start(s.ctx))
	s.writeTargets(both)
	s.run("worker")
	s.waitFor("notification", hasEvents(6))
	assert.Empty(t, s.records())
}

// TestARetiredTarget: what waits for it is dead-lettered.
func TestARetiredTarget(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, withState("active"))
	s.targets["notification"].Stop()
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	s.waitFor("analytics", hasEvents(1))
	stop(t, worker)
	s.writeTargets(withState("retired"))
	s.run("worker")
	assert.Equal(t, event.ReasonRetired, s.record("notification", s.id(0)).Reason)
}

// TestAPausedTarget: it is chosen, and what it is chosen for waits for it.
func TestAPausedTarget(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, withState("paused"))
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 3)
	s.exactlyOnce("analytics", 3)
	s.waitCommitted(3)
	stop(t, worker)
	assert.Zero(t, s.targets["notification"].Count())
	s.writeTargets(withState("active"))
	s.run("worker")
	s.exactlyOnce("notification", 3)
}

func withState(state string) string {
	return "  - {name: analytics, url: $ANALYTICS}\n  - {name: notification, url: $NOTIFICATION, state: " + state + "}\n"
}

// TestCancel: no further attempt; what was open is recorded.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": status(429)}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, max_attempts: 50, backoff: {initial: 1m}}
`)
	s.run("worker")
	s.run("ingest")
	s.publish(0, 1)
	s.waitFor("notification", hasEvents(1))
	s.waitFor("analytics", hasEvents(1))
	require.NoError(t, s.client.CancelWorkflow(s.ctx, fanout.WorkflowID(s.id(0)), ""))
	s.waitStatus(s.id(0), enums.WORKFLOW_EXECUTION_STATUS_CANCELED)
	got := s.record("notification", s.id(0))
	assert.Equal(t, event.ReasonCanceled, got.Reason)
	assert.Contains(t, got.Error, "429 Too Many Requests")
	assert.Equal(t, 1, s.targets["notification"].Count())
}

// TestWhenChoosesTargets: an event goes where `when` says, and nowhere if no
// target wants it.
func TestWhenChoosesTargets(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, `
  - {name: analytics, url: $ANALYTICS, when: 'event.type.startsWith("conversation.")'}
  - {name: notification, url: $NOTIFICATION, when: 'event.type == "conversation.ended" && payload.interaction.status == "active"'}
`)
	s.run("worker")
	ingest := s.run("ingest")
	s.produce(flat(s.id(0), "user.presence"))
	s.produce(flat(s.id(1), "conversation.started"))
	s.produce(flat(s.id(2), "conversation.ended"))
	s.waitFor("analytics", hasEvents(2))
	s.waitFor("notification", hasEvents(1))
	s.waitCommitted(3)
	assert.Empty(t, s.targets["analytics"].ByEvent(s.id(0)))
	assert.Empty(t, s.targets["notification"].ByEvent(s.id(1)))
	assert.InDelta(t, 1, s.metric(ingest, `fanout_workflows_started_total{result="unmatched"}`), 0)
	assert.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED, s.status(s.id(0)), "no run")
}

// TestRateLimit: a target with a rate gets no more than that.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, "  - {name: analytics, url: $ANALYTICS, rate_limit: 5/s}\n")
	s.run("worker")
	s.run("ingest")
	s.publish(0, 40)
	s.waitFor("analytics", hasEvents(40))
	requests := s.targets["analytics"].Requests()
	took := requests[len(requests)-1].Time.Sub(requests[0].Time)
	assert.Greater(t, took, 4*time.Second, "40 events at 5/s, less the burst of the queue's partitions")
	s.exactlyOnce("analytics", 40)
}

// TestMegabyteMessages: 20 failing targets and a message of 1 MiB; no task and
// no history is too large for Temporal.
func TestMegabyteMessages(t *testing.T) {
	t.Parallel()
	scripts := targetScripts{}
	var yaml strings.Builder
	for i := range 20 {
		name := fmt.Sprintf("t%02d", i)
		code := 429 // the retry lane, then exhausted
		if i%2 == 0 {
			code = 500
		}
		scripts[name] = status(code)
		yaml.WriteString("  - {name: " + name + ", url: $" + strings.ToUpper(name) + ", timeout: 30s, max_attempts: 2, backoff: {initial: 1s}}\n")
	}
	s := newStack(t, scripts, yaml.String())
	s.run("worker")
	s.run("ingest", "KAFKA_OPTIONS=fetch.message.max.bytes=4194304")
	event := []byte(`{"event_id":"` + s.id(0) + `","event_type":"big","text":"`)
	event = append(event, strings.Repeat("\x7f<\\\"", (1<<20-len(event)-2)/4)...)
	event = append(event, `"}`...)
	s.produce(event)
	for i := range 20 {
		got := s.record(fmt.Sprintf("t%02d", i), s.id(0))
		assert.Equal(t, sha256.Sum256(event), sha256.Sum256(got.Message()))
		assert.Equal(t, sha256.Sum256(event), s.targets[fmt.Sprintf("t%02d", i)].Requests()[0].SHA256)
	}
	s.waitStatus(s.id(0), enums.WORKFLOW_EXECUTION_STATUS_FAILED)
}

// TestUndecodableAndOversize: they block nothing and are kept.
func TestUndecodableAndOversize(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, "  - {name: analytics, url: $ANALYTICS}\n")
	s.run("worker")
	s.run("ingest")
	s.produce([]byte("{not json"))
	s.produce([]byte{})
	big := append([]byte(`{"event_id":"`+s.id(1)+`","event_type":"big","text":"`), strings.Repeat("\x7f\xff", 1_550_000/2)...)
	big = append(big, `"}`...)
	s.produce(big)
	s.produce(flat(s.id(2), "conversation.started"))
	s.waitFor("analytics", hasEvents(1))
	s.waitCommitted(4)

	got := s.record(event.OversizeTarget, s.id(1))
	assert.Equal(t, event.ReasonOversize, got.Reason)
	assert.Nil(t, got.Message())
	assert.EqualValues(t, 2, got.Source.Offset)
	assert.Equal(t, s.name, got.Source.Topic)

	var bad []string
	s.eventually(func() bool {
		var err error
		bad, err = filepath.Glob(filepath.Join(s.deadLetters(), "_undecodable_*.json"))
		return err == nil && len(bad) == 2
	}, "two undecodable messages are kept")
	texts := ""
	for _, file := range bad {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		texts += string(data)
	}
	assert.Contains(t, texts, `"payload": null`)
	assert.Contains(t, texts, `"payload_base64": "e25vdCBqc29u"`)
	assert.Equal(t, 1, s.targets["analytics"].Count())
}

// TestHostileIDs: an id is data, wherever it ends up.
func TestHostileIDs(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": status(400)}, "  - {name: analytics, url: $ANALYTICS}\n")
	s.run("worker")
	s.run("ingest")
	ids := []string{"../../../tmp/x", "a\r\nX-Evil: 1", "a\x00b", "grüße", strings.Repeat("x", 4096), ".hidden", `c:\x`, "100%"}
	for i, id := range ids {
		ids[i] = id + "#" + s.id(i)
		event, err := json.Marshal(map[string]string{"event_id": ids[i], "event_type": "a\nb"})
		require.NoError(t, err)
		s.produce(event)
	}
	for _, id := range ids {
		assert.Equal(t, id, s.record("analytics", id).EventID)
		s.waitStatus(id, enums.WORKFLOW_EXECUTION_STATUS_FAILED)
	}
	assert.Len(t, s.records(), len(ids))
	s.waitCommitted(int64(len(ids)))
	for _, r := range s.targets["analytics"].Requests() {
		assert.Empty(t, r.Header.Get("X-Evil"))
		assert.LessOrEqual(t, len(r.EventID), 160)
	}
}

func stop(t *testing.T, p *devstack.Process) {
	t.Helper()
	code, err := p.Stop(t.Context())
	require.NoError(t, err)
	assert.Zero(t, code, p.Text())
}
