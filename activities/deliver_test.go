package activities

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const message = `{"event_id":"evt-1", "text":"<&>"}`

// load parses the list of targets of a targets.yaml, with url in place of $URL. Each ${NAME} has
// the value s3cret-NAME.
func load(t *testing.T, url, yaml string) *target.Set {
	t.Helper()
	set, err := target.Parse("targets.yaml", []byte("targets:\n"+strings.ReplaceAll(yaml, "$URL", url)), func(name string) (string, bool) {
		if strings.HasSuffix(name, "_FILE") {
			return "", false
		}
		return "s3cret-" + name, true
	})
	require.NoError(t, err)
	return set
}

// fixture has Activities that send real HTTP requests, and calls them as Temporal does.
type fixture struct {
	t        *testing.T
	acts     *Activities
	targets  *target.Set
	registry *prometheus.Registry
	suite    testsuite.WorkflowTestSuite

	heartbeat func(context.Context, fanout.Progress) error // what Temporal answers to a heartbeat; nil acknowledges it
	ledger    []fanout.Progress                            // the heartbeats that Temporal has got
}

// heartbeats implements Heartbeats.
type heartbeats func(ctx context.Context, progress fanout.Progress) error

func (h heartbeats) RecordActivityHeartbeat(ctx context.Context, _ []byte, details ...any) error {
	return h(ctx, details[0].(fanout.Progress))
}

func newFixture(t *testing.T, handler http.HandlerFunc, yaml string) *fixture {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	f := &fixture{t: t, targets: load(t, server.URL, yaml), registry: prometheus.NewRegistry()}
	f.acts = f.process("process-1")
	return f
}

// process returns the activities of a process that serves the same targets.
func (f *fixture) process(id string) *Activities {
	return New(Options{Process: id, Targets: f.targets, Metrics: f.registry, Heartbeats: heartbeats(func(ctx context.Context, progress fanout.Progress) error {
		f.ledger = append(f.ledger, progress)
		if f.heartbeat != nil {
			return f.heartbeat(ctx, progress)
		}
		return nil
	})})
}

func (f *fixture) delivery() fanout.DeliverInput {
	return fanout.DeliverInput{
		Message: event.Message{Event: event.Event{ID: "evt 1\r\nX-Evil: 1", Type: "conversation.started", InteractionID: "i-1", PublishedAt: noon.Add(250 * time.Millisecond).In(time.FixedZone("", 3600))}, Source: event.Source{Topic: "genesys events", Partition: 3, Offset: 1 << 40}, Body: event.Body(message)},
		Policy:  f.targets.All()[0].Policy,
	}
}

func (f *fixture) firstAttempt(d fanout.DeliverInput) fanout.Outcome {
	f.t.Helper()
	env := f.suite.NewTestActivityEnvironment()
	value, err := env.ExecuteLocalActivity(f.acts.FirstAttempt, d)
	require.NoError(f.t, err)
	var outcome fanout.Outcome
	require.NoError(f.t, value.Get(&outcome))
	return outcome
}

// deliver runs Deliver as a later task of the same activity would. progress is the heartbeat
// details of the task before; nil if this is the first task.
func (f *fixture) deliver(d fanout.DeliverInput, progress *fanout.Progress) (fanout.Outcome, *temporal.ApplicationError) {
	f.t.Helper()
	env := f.suite.NewTestActivityEnvironment()
	env.RegisterActivity(f.acts.Deliver)
	if progress != nil {
		env.SetHeartbeatDetails(*progress)
	}
	value, err := env.ExecuteActivity(f.acts.Deliver, d)
	if err != nil {
		var failure *temporal.ApplicationError
		require.ErrorAs(f.t, err, &failure)
		return fanout.Outcome{}, failure
	}
	var outcome fanout.Outcome
	require.NoError(f.t, value.Get(&outcome))
	return outcome, nil
}

const oneTarget = `
  - name: analytics-service
    url: $URL/api?key=${X}
    headers: {Authorization: "Bearer ${TOKEN}", X-Team: fan}
    backoff: {initial: 2s}
`

func TestRequest_HeadersAndBody(t *testing.T) {
	var got *http.Request
	var body []byte
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}, strings.Replace(oneTarget, "?key=${X}", "?key=k", 1))
	outcome := f.firstAttempt(f.delivery())
	assert.Equal(t, fanout.Outcome{Verdict: fanout.Delivered, Progress: fanout.Progress{Attempts: 1, StatusCode: 202}}, outcome)
	assert.Equal(t, http.MethodPost, got.Method)
	assert.Equal(t, message, string(body), "the message as received")
	for name, want := range map[string]string{
		"Content-Type":             "application/json",
		"X-Genesys-Event-ID":       "evt%201%0D%0AX-Evil:%201",
		"X-Genesys-Event-Type":     "conversation.started",
		"X-Genesys-Interaction-ID": "i-1",
		"Idempotency-Key":          "evt%201%0D%0AX-Evil:%201",
		"X-Delivery-Attempt":       "1",
		"X-Genesys-Event-Time":     "2026-03-14T12:00:00.25Z",
		"X-Kafka-Topic":            "genesys%20events",
		"X-Kafka-Partition":        "3",
		"X-Kafka-Offset":           "1099511627776",
		"Authorization":            "Bearer s3cret-TOKEN",
		"X-Team":                   "fan",
		"X-Evil":                   "",
	} {
		assert.Equal(t, want, got.Header.Get(name), name)
	}
}

// Some values are unknown if the run was started by hand, or if its retries began under an
// earlier version.
func TestRequest_OmitsHeadersWithoutAValue(t *testing.T) {
	var got http.Header
	f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header }, `- {name: a, url: $URL}`)
	d := f.delivery()
	d.Source, d.Event.PublishedAt = event.Source{}, time.Time{}
	require.Equal(t, fanout.Delivered, f.firstAttempt(d).Verdict)
	for _, name := range []string{"X-Genesys-Event-Time", "X-Kafka-Topic", "X-Kafka-Partition", "X-Kafka-Offset"} {
		assert.NotContains(t, got, name)
	}
}

func TestFirstAttempt_SendsOnceIfTheWorkflowTaskIsLost(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}, strings.Replace(oneTarget, "?key=${X}", "", 1))
	first := f.firstAttempt(f.delivery())
	assert.Equal(t, fanout.Rejected, first.Verdict)
	assert.Equal(t, first, f.firstAttempt(f.delivery()), "the next workflow task asks again")
	assert.EqualValues(t, 1, requests.Load())
}

func TestFirstAttempt_SendsNothingToPausedRetiredOrLimitedTargets(t *testing.T) {
	for name, yaml := range map[string]string{
		"paused":       `- {name: a, url: $URL, state: paused}`,
		"retired":      `- {name: a, url: $URL, state: retired}`,
		"rate limited": `- {name: a, url: $URL, rate_limit: 5/s}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, yaml)
			d := f.delivery()
			d.Policy.FastLane = true // as in an input that was made before the file changed
			assert.Equal(t, fanout.Outcome{Verdict: fanout.Held}, f.firstAttempt(d))
			d.Policy.Target = "unknown"
			assert.Equal(t, fanout.Outcome{Verdict: fanout.Held}, f.firstAttempt(d))
		})
	}
}

func TestDeliver_MakesAtMostMaxAttempts(t *testing.T) {
	var attempts []string
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		attempts = append(attempts, r.Header.Get("X-Delivery-Attempt"))
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "slow down")
	}, `- {name: a, url: $URL, backoff: {initial: 2s}}`)
	d := f.delivery()
	d.Progress = fanout.Progress{Attempts: 1, StatusCode: 429, Error: "429"}

	_, failure := f.deliver(d, nil)
	require.NotNil(t, failure)
	assert.Equal(t, "retry", failure.Type())
	assert.False(t, failure.NonRetryable())
	assert.InDelta(t, 4.2, failure.NextRetryDelay().Seconds(), 0.25, "the backoff after the second attempt, with its jitter")
	assert.Contains(t, failure.Message(), "a, attempt 2 of 3: 429 Too Many Requests: slow down")

	_, failure = f.deliver(d, &fanout.Progress{Attempts: 2})
	require.NotNil(t, failure)
	assert.Equal(t, string(event.ReasonExhausted), failure.Type())
	assert.True(t, failure.NonRetryable())
	var progress fanout.Progress
	require.NoError(t, failure.Details(&progress))
	assert.Equal(t, fanout.Progress{Attempts: 3, StatusCode: 429, Error: "429 Too Many Requests: slow down"}, progress)

	_, failure = f.deliver(d, &fanout.Progress{Attempts: 3})
	require.NotNil(t, failure)
	assert.Equal(t, string(event.ReasonExhausted), failure.Type(), "never more than max_attempts, also after a lost worker")
	assert.Equal(t, []string{"2", "3"}, attempts)
}

// The wait is the backoff, and at least 2 s.
func TestFirstAttempt_WaitsForItsBackoffAfterA429WithoutAReadableWait(t *testing.T) {
	for initial, want := range map[string]fanout.Wait{
		"100ms": {Least: target.Duration(2 * time.Second), Why: "asked for by the target"},
		"10s":   {Least: target.Duration(10 * time.Second), Why: "the backoff"},
	} {
		f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "in a while")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "- {name: a, url: $URL, backoff: {initial: "+initial+"}}")
		before := time.Now()
		outcome := f.firstAttempt(f.delivery())
		assert.Equal(t, want, outcome.Wait)
		least := time.Duration(want.Least)
		assert.WithinRange(t, outcome.NotBefore, before.Add(least), time.Now().Add(time.Duration((1+jitter)*float64(least))))
	}
}

func TestDeliver_SendsNothingBeforeNotBefore(t *testing.T) {
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL}`)
	d := f.delivery()
	d.Progress = fanout.Progress{Attempts: 1, StatusCode: 503, Error: "503 Service Unavailable"}
	d.NotBefore = time.Now().Add(time.Minute)
	_, failure := f.deliver(d, nil)
	require.NotNil(t, failure)
	assert.Equal(t, "held", failure.Type())
	assert.GreaterOrEqual(t, failure.NextRetryDelay(), 59*time.Second)
	assert.Contains(t, failure.Message(), "503 Service Unavailable", "the message repeats the last failure")
}

// Temporal would give the delivery up without saying why. The test environment gives an activity
// ten minutes with all its retries.
func TestDeliver_ExpiresAtOnceIfTheWaitIsLongerThanTheRestOfMaxAge(t *testing.T) {
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL}`)
	d := f.delivery()
	d.Progress = fanout.Progress{Attempts: 1, StatusCode: 503, Error: "503 Service Unavailable"}
	for wait, expires := range map[time.Duration]bool{9*time.Minute + 50*time.Second: false, 20 * time.Minute: true} {
		d.NotBefore = time.Now().Add(wait)
		_, failure := f.deliver(d, nil)
		require.NotNil(t, failure)
		if !expires {
			assert.Equal(t, fanout.FailureHeld, failure.Type())
			assert.LessOrEqual(t, failure.NextRetryDelay(), 10*time.Minute, "the jitter does not exceed the rest of max_age")
			continue
		}
		reason, progress := fanout.Explain(failure, fanout.Progress{})
		assert.Equal(t, event.ReasonExpired, reason)
		assert.Equal(t, fanout.Progress{
			Attempts: 1, StatusCode: 503,
			Error: "a wait of 20m0s (held back: backing off) is longer than the 10m0s that are left of max_age 24h0m0s; 503 Service Unavailable",
		}, progress)
	}
}

func TestDeliver_GivesUpIfTheTargetIsRetired(t *testing.T) {
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL, state: retired}`)
	_, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: 1, StatusCode: 503, Error: "503"})
	require.NotNil(t, failure)
	reason, progress := fanout.Explain(failure, fanout.Progress{})
	assert.Equal(t, event.ReasonRetired, reason)
	assert.Equal(t, fanout.Progress{Attempts: 1, StatusCode: 503, Error: "the target was retired; 503"}, progress)
}

func TestDeliver_SpendsNoAttemptWhileTheGateIsClosed(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	}, `- {name: a, url: $URL}`)
	assert.Equal(t, fanout.Retry, f.firstAttempt(f.delivery()).Verdict)
	_, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: 1, StatusCode: 429, Error: "429"})
	require.NotNil(t, failure)
	assert.Equal(t, "held", failure.Type())
	assert.Greater(t, failure.NextRetryDelay(), 55*time.Second)
	var progress fanout.Progress
	require.NoError(t, failure.Details(&progress))
	assert.Equal(t, 1, progress.Attempts)
	assert.EqualValues(t, 1, requests.Load())
	assert.NoError(t, testutil.GatherAndCompare(f.registry, strings.NewReader(`
# HELP fanout_target_held 1 while a target's gate is closed or its breaker open in this process.
# TYPE fanout_target_held gauge
fanout_target_held{target="a"} 1
# HELP fanout_deliveries_total Attempts by target, lane and outcome; held ones sent nothing, or only a probe.
# TYPE fanout_deliveries_total counter
fanout_deliveries_total{lane="fast",outcome="retry",target="a"} 1
fanout_deliveries_total{lane="retry",outcome="held",target="a"} 1
`), "fanout_target_held", "fanout_deliveries_total"))
}

// So an outage does not use up max_attempts.
func TestDeliver_FailedProbeSpendsNoAttempt(t *testing.T) {
	status := http.StatusServiceUnavailable
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) },
		`- {name: a, url: $URL, retry_statuses: [503], max_attempts: 3}`)
	admission := f.acts.admissions.of(f.targets.All()[0])
	now := noon
	admission.now = func() time.Time { return now }
	openBreaker(t, admission)
	now = now.Add(time.Second)

	_, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: 2, StatusCode: 503, Error: "503"})
	require.NotNil(t, failure)
	assert.Equal(t, "held", failure.Type())
	var progress fanout.Progress
	require.NoError(t, failure.Details(&progress))
	assert.Equal(t, 2, progress.Attempts)

	status = http.StatusOK
	now = now.Add(2 * time.Second)
	outcome, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: 2})
	require.Nil(t, failure)
	assert.Equal(t, 3, outcome.Progress.Attempts)
}

func TestAttempt_FailedProbeWaitsAsLongAsRetryAfter(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	}, `- {name: a, url: $URL, retry_statuses: [503]}`)
	admission := f.acts.admissions.of(f.targets.All()[0])
	now := noon
	admission.now = func() time.Time { return now }
	openBreaker(t, admission)

	now = now.Add(firstProbeDelay)
	outcome := f.firstAttempt(f.delivery())
	assert.Equal(t, fanout.Held, outcome.Verdict)
	assert.Zero(t, outcome.Progress.Attempts)
	assert.WithinRange(t, outcome.NotBefore, time.Now().Add(50*time.Second), time.Now().Add(70*time.Second))

	now = now.Add(longestProbeDelay)
	_, failure := f.deliver(f.delivery(), nil)
	require.NotNil(t, failure)
	assert.Equal(t, "held", failure.Type())
	assert.GreaterOrEqual(t, failure.NextRetryDelay(), 50*time.Second)
}

func TestFirstAttempt_TransportFailuresAreRetried(t *testing.T) {
	handlers := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"timeout": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the server notices that the client has gone only after it has read the body
			<-r.Context().Done()
		}, "no answer within 50ms"},
		"reset": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if assert.NoError(t, err) {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		}, "connection reset by peer"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect"},
	}
	for name, test := range handlers {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, test.handler, `- {name: a, url: $URL, timeout: 50ms}`)
			if name != "timeout" {
				f.targets.All()[0].Policy.Timeout = target.Duration(5 * time.Second)
			}
			outcome := f.firstAttempt(f.delivery())
			assert.Contains(t, outcome.Progress.Error, test.want)
			assert.Equal(t, name == "redirect", outcome.Verdict == fanout.Rejected)
			assert.NotEqual(t, fanout.Delivered, outcome.Verdict)
		})
	}
	t.Run("refused", func(t *testing.T) {
		f := newFixture(t, nil, `- {name: a, url: 'http://user:hunter2@127.0.0.1:1/?key=opensesame'}`)
		outcome := f.firstAttempt(f.delivery())
		assert.Equal(t, fanout.Retry, outcome.Verdict)
		assert.Contains(t, outcome.Progress.Error, "connection refused")
		assert.NotContains(t, outcome.Progress.Error, "hunter2")
		assert.NotContains(t, outcome.Progress.Error, "opensesame")
	})
}

// The target sends its secrets back.
func TestErrors_HaveNoSecrets(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "you sent %s to %s", r.Header.Get("Authorization"), r.URL)
	}, strings.Replace(oneTarget, "${X}", "opensesame", 1))
	outcome := f.firstAttempt(f.delivery())
	assert.Contains(t, outcome.Progress.Error, "403 Forbidden: you sent")
	assert.NotContains(t, outcome.Progress.Error, "s3cret")
	assert.NotContains(t, outcome.Progress.Error, "opensesame")
}

func TestErrors_QuoteAtMost2KiBOfAResponse(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, strings.Repeat("ü", 1<<20))
	}, `- {name: a, url: $URL}`)
	got := f.firstAttempt(f.delivery()).Progress.Error
	assert.LessOrEqual(t, len(got), quoteLimit+len("400 Bad Request: "))
	assert.Greater(t, len(got), quoteLimit)
}

type messagesFunc func(ctx context.Context, workflowID, runID string) (event.Message, error)

func (f messagesFunc) Message(ctx context.Context, workflowID, runID string) (event.Message, error) {
	return f(ctx, workflowID, runID)
}

func TestMessageCache_ReadsTheMessageOfARunOnce(t *testing.T) {
	reads := 0
	cache := newMessageCache(messagesFunc(func(_ context.Context, _, runID string) (event.Message, error) {
		reads++
		return event.Message{Event: event.Event{ID: "stored"}, Body: event.Body("message of " + runID)}, nil
	}))
	for range 3 {
		got, err := cache.complete(t.Context(), event.Message{Event: event.Event{ID: "carried"}}, "event-1", "run-1")
		require.NoError(t, err)
		assert.Equal(t, event.Message{Event: event.Event{ID: "carried"}, Body: event.Body("message of run-1")}, got)
	}
	got, err := cache.complete(t.Context(), event.Message{Body: event.Body("carried")}, "event-1", "run-1")
	require.NoError(t, err)
	assert.Equal(t, event.Message{Event: event.Event{ID: "stored"}, Body: event.Body("carried")}, got)
	assert.Equal(t, 1, reads)

	whole := event.Message{Event: event.Event{ID: "carried"}, Body: event.Body("carried")}
	got, err = cache.complete(t.Context(), whole, "event-1", "run-2")
	require.NoError(t, err)
	assert.Equal(t, whole, got)
	assert.Equal(t, 1, reads)
}

// endsMeanwhile is a context whose Err returns nil once, and context.Canceled after that.
type endsMeanwhile struct {
	context.Context
	asked bool
}

func (c *endsMeanwhile) Err() error {
	if c.asked {
		return context.Canceled
	}
	c.asked = true
	return nil
}

// If a probe kept its permit, no other probe would be sent, and the target would stay blocked as
// long as the process lives.
func TestAttempt_ReleasesItsPermitWheneverItsContextEnds(t *testing.T) {
	set := load(t, "http://127.0.0.1:1", `- {name: a, url: $URL}`)
	acts, target := New(Options{Targets: set}), set.All()[0]
	outcome, _ := acts.attemptInFastLane(&endsMeanwhile{Context: context.Background()}, target, fanout.DeliverInput{Policy: target.Policy})
	assert.Equal(t, fanout.Retry, outcome.Verdict)
	assert.Zero(t, acts.admissions.of(target).inFlight)
}
