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

// All targets are healthy. The test also checks the headers of the requests.
func TestDelivery_EveryEventReachesEveryTargetOnce(t *testing.T) {
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
	assert.Equal(t, sha256.Sum256(flatEvent(s.id(7), "conversation.started")), r.SHA256, "the body is the message, byte for byte")
	assert.Equal(t, s.id(7), r.Header.Get("Idempotency-Key"))
	assert.Equal(t, "conversation.started", r.Header.Get("X-Genesys-Event-Type"))
	assert.Equal(t, "conv-"+s.id(7), r.Header.Get("X-Genesys-Interaction-ID"))
	assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
	assert.Equal(t, 1, r.Attempt)

	assert.InDelta(t, 40, s.metric(ingest, `fanout_events_consumed_total{format="flat"}`), 0)
	assert.InDelta(t, 40, s.metric(ingest, `fanout_workflows_started_total{result="started"}`), 0)
	// ingest makes the first attempts, except when it has no free slot at the start of a run.
	sum := func(sample string) float64 { return s.metric(worker, sample) + s.metric(ingest, sample) }
	assert.InDelta(t, 40, sum(`fanout_deliveries_total{lane="fast",outcome="delivered",target="analytics"}`), 0)
	s.eventually(func() bool { return sum("fanout_event_age_seconds_count") == 40 }, "the age of each event is counted")
	assert.Positive(t, s.metric(ingest, `fanout_deliveries_total{lane="fast",outcome="delivered",target="analytics"}`))
}

// So ingest does not need the secrets of targets.
func TestDelivery_WithoutEagerStartIngestSendsNoRequest(t *testing.T) {
	t.Parallel()
	var withToken atomic.Int32
	s := newStack(t, targetScripts{"analytics": func(r devstack.Request) devstack.Answer {
		if r.Header.Get("Authorization") == "Bearer for-the-target" {
			withToken.Add(1)
		}
		return devstack.Answer{Status: http.StatusOK}
	}}, `
  - {name: analytics, url: $ANALYTICS, headers: {Authorization: 'Bearer ${TOKEN}'}}
`)
	worker, ingest := s.run("worker", "TOKEN=for-the-target"), s.run("ingest", "FANOUT_EAGER_START=false")
	s.publish(0, 20)
	s.exactlyOnce("analytics", 20)
	assert.EqualValues(t, 20, withToken.Load())
	assert.InDelta(t, 20, s.metric(worker, `fanout_deliveries_total{lane="fast",outcome="delivered",target="analytics"}`), 0)
	assert.NotContains(t, s.body(ingest, "/metrics"), "fanout_deliveries_total")
}

// The test covers each kind of answer that the README lists. A retryable answer must lead to another
// request, any other error to a dead letter.
func TestDelivery_RetryOrDeadLetterForEachKindOfAnswer(t *testing.T) {
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
		"accepted": answers(http.StatusAccepted),
		"seconds":  once(devstack.Answer{Status: 429, Header: header("Retry-After", "4")}),
		"date":     once(devstack.Answer{Status: 429, Header: header("Retry-After", time.Now().Add(12*time.Second).UTC().Format(http.TimeFormat))}),
		"bare":     once(devstack.Answer{Status: 429}),
		"listed":   once(devstack.Answer{Status: 503}),
		"reset":    once(devstack.Answer{Reset: true}),
		"hang":     once(devstack.Answer{Hang: true}),
		"e400":     answers(400), "e404": answers(404), "e500": answers(500), "e503": answers(503),
		"moved": func(devstack.Request) devstack.Answer {
			return devstack.Answer{Status: 307, Header: header("Location", "http://127.0.0.1:1/")}
		},
		"always": func(devstack.Request) devstack.Answer {
			return devstack.Answer{Status: 429, Header: header("Retry-After", "1"), Body: "slow down"}
		},
	}
	var yaml strings.Builder
	for name := range scripts {
		more := ""
		if name == "listed" {
			more = ", retry_statuses: [429, 503]"
		}
		fmt.Fprintf(&yaml, "\n  - {name: %s, url: $%s, timeout: 2s%s}", name, strings.ToUpper(name), more)
	}
	s := newStack(t, scripts, yaml.String())
	s.run("worker")
	s.run("ingest")
	s.publish(0, 1)

	for name, minWait := range map[string]time.Duration{"seconds": 4 * time.Second, "date": 0, "bare": 2 * time.Second, "listed": 2 * time.Second, "reset": 2 * time.Second, "hang": 2 * time.Second} {
		s.waitFor(name, func(target *devstack.Target) bool { return target.Count() == 2 })
		requests := s.targets[name].Requests()
		assert.GreaterOrEqual(t, requests[1].Time.Sub(requests[0].Time), minWait, name)
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
		assert.Equal(t, flatEvent(s.id(0), "conversation.started"), got.Message(), name)
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

// While the rate-limit gate is closed, nothing is sent to the target and no attempt is spent. The
// other target gets its events.
func TestRateLimitGate_429BlocksTheTargetUntilRetryAfter(t *testing.T) {
	t.Parallel()
	const closed = 6 * time.Second
	var first atomic.Int64
	s := newStack(t, targetScripts{"analytics": ok, "notification": func(devstack.Request) devstack.Answer {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			return devstack.Answer{Status: 429, Header: http.Header{"Retry-After": {"6"}}}
		}
		return devstack.Answer{Status: http.StatusOK, Delay: 100 * time.Millisecond}
	}}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, max_attempts: 2}
`)
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
	assert.False(t, requests[1].Time.Before(opened), "no request before the end of Retry-After")
	assert.GreaterOrEqual(t, requests[2].Time.Sub(requests[1].Time), 100*time.Millisecond, "the gate opens with one request, and the next one waits for its answer")
	for i := range 31 {
		s.waitStatus(s.id(i), enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
	}
	assert.Empty(t, s.records())
}

// After an outage the target gets all of its events, and no event becomes a dead letter.
func TestCircuitBreaker_OutageOfOneTargetDoesNotAffectOthers(t *testing.T) {
	t.Parallel()
	outage := map[string]struct {
		answer  devstack.Answer
		stopped bool
	}{
		"refusing": {stopped: true},
		"failing":  {answer: devstack.Answer{Status: http.StatusServiceUnavailable}},
		"hanging":  {answer: devstack.Answer{Hang: true}},
	}
	for kind, down := range outage {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, targetScripts{"analytics": ok, "notification": func(devstack.Request) devstack.Answer { return down.answer }}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, max_attempts: 4, timeout: 2s, retry_statuses: [429, 503]}
`)
			worker := s.run("worker")
			s.run("ingest")
			if down.stopped {
				s.targets["notification"].Stop()
			}
			s.publish(0, 200)
			s.exactlyOnce("analytics", 200)
			s.eventually(func() bool {
				return s.metric(worker, `fanout_deliveries_total{lane="retry",outcome="held",target="notification"}`) >= 3
			}, "the breaker probes the target")
			assert.InDelta(t, 1, s.metric(worker, `fanout_target_held{target="notification"}`), 0)
			// At most 32 requests of the fast lane and 64 of the retry lane were in flight when the breaker opened.
			assert.Less(t, s.targets["notification"].Count(), 32+64+32, "an open breaker lets only probes through")

			s.targets["notification"].SetScript(ok)
			require.NoError(t, s.targets["notification"].Start(s.ctx))
			s.exactlyOnce("notification", 200)
			assert.Empty(t, s.records())
		})
	}
}

func TestMaxAge_ExpiredEventBecomesDeadLetter(t *testing.T) {
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
	assert.Contains(t, got.Error, "connection refused", "the error also contains the last failure")
	s.waitStatus(s.id(0), enums.WORKFLOW_EXECUTION_STATUS_FAILED)
}

func TestTargetsFile_EventsOfARemovedTargetWaitUntilItIsBack(t *testing.T) {
	t.Parallel()
	const both = `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, backoff: {initial: 1s}}
`
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, both)
	s.targets["notification"].Stop()
	worker := s.run("worker")
	s.run("ingest")
	s.publish(0, 5)
	s.waitFor("analytics", hasEvents(5))
	stop(t, worker)

	s.writeTargets(oneTarget)
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

func TestTargetState_EventsOfARetiredTargetBecomeDeadLetters(t *testing.T) {
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

// Events are still matched to a paused target. They wait until the target is active.
func TestTargetState_EventsOfAPausedTargetWait(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, withState("paused"))
	worker, ingest := s.run("worker"), s.run("ingest")
	for _, p := range []*devstack.Process{worker, ingest} {
		assert.Contains(t, p.Text(), `level=WARN msg="target is paused: `)
	}
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
	return `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, state: ` + state + `}
`
}

func TestCancel_StopsRetriesAndRecordsADeadLetter(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": answers(429)}, `
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

// An event for which no `when` is true starts no run.
func TestWhen_SelectsTargets(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": ok}, `
  - {name: analytics, url: $ANALYTICS, when: 'event.type.startsWith("conversation.")'}
  - {name: notification, url: $NOTIFICATION, when: 'event.type == "conversation.ended" && payload.interaction.status == "active"'}
`)
	s.run("worker")
	ingest := s.run("ingest")
	s.produce(flatEvent(s.id(0), "user.presence"))
	s.produce(flatEvent(s.id(1), "conversation.started"))
	s.produce(flatEvent(s.id(2), "conversation.ended"))
	s.waitFor("analytics", hasEvents(2))
	s.waitFor("notification", hasEvents(1))
	s.waitCommitted(3)
	assert.Empty(t, s.targets["analytics"].ByEvent(s.id(0)))
	assert.Empty(t, s.targets["notification"].ByEvent(s.id(1)))
	assert.InDelta(t, 1, s.metric(ingest, `fanout_workflows_started_total{result="unmatched"}`), 0)
	assert.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED, s.status(s.id(0)), "no run is started for an event that no target gets")
}

func TestRateLimit_LimitsRequestsToTheTarget(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, `
  - {name: analytics, url: $ANALYTICS, rate_limit: 5/s}
`)
	s.run("worker")
	s.run("ingest")
	s.publish(0, 40)
	s.waitFor("analytics", hasEvents(40))
	requests := s.targets["analytics"].Requests()
	duration := requests[len(requests)-1].Time.Sub(requests[0].Time)
	assert.Greater(t, duration, 4*time.Second, "40 events at 5/s take 8 s, less the burst of each partition of the task queue")
	s.exactlyOnce("analytics", 40)
}

// No workflow task and no history may become too large for Temporal.
func TestLargeMessages_1MiBTo20FailingTargetsFitsTemporalsLimits(t *testing.T) {
	t.Parallel()
	scripts := targetScripts{}
	var yaml strings.Builder
	for i := range 20 {
		name := fmt.Sprintf("t%02d", i)
		code := 429 // retried, then a dead letter
		if i%2 == 0 {
			code = 500
		}
		scripts[name] = answers(code)
		fmt.Fprintf(&yaml, "\n  - {name: %s, url: $%s, timeout: 30s, max_attempts: 2, backoff: {initial: 1s}}", name, strings.ToUpper(name))
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

func TestUndecodableAndOversizeMessages_BecomeDeadLettersAndAreCommitted(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker")
	s.run("ingest")
	s.produce([]byte("{not json"))
	s.produce([]byte{})
	big := append([]byte(`{"event_id":"`+s.id(1)+`","event_type":"big","text":"`), strings.Repeat("\x7f\xff", 1_550_000/2)...)
	big = append(big, `"}`...)
	s.produce(big)
	s.produce(flatEvent(s.id(2), "conversation.started"))
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
	}, "dead letters of two undecodable messages")
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

// An event ID appears in file names, headers and workflow IDs, and must be harmless in each.
func TestEventIDs_PathsControlCharactersAndLongIDsAreSafe(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": answers(400)}, oneTarget)
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
