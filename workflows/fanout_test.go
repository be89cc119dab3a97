package workflows_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
)

// TestFanOut_SendsKafkaPositionAndTimeWithEachAttempt checks the headers of both lanes, also if
// the event is too large for an activity's input.
func TestFanOut_SendsKafkaPositionAndTimeWithEachAttempt(t *testing.T) {
	r := start(t, oneTarget+`
    retry_statuses: [503]
    backoff: {initial: 1s}
`)
	r.Targets["a"].SetScript(func(request devstack.Request) devstack.Answer {
		if request.Attempt == 1 {
			return devstack.Answer{Status: http.StatusServiceUnavailable}
		}
		return devstack.Answer{}
	})
	at := time.Date(2026, 3, 14, 12, 0, 0, 250e6, time.UTC)
	for n, large := range map[int64]int{1: 0, 2: 200 << 10} {
		in := r.Input(fmt.Sprintf("evt-%d", n) + strings.Repeat("x", large/40))
		in.Event.PublishedAt = at
		in.Source = event.Source{Topic: "events", Partition: 7, Offset: n}
		in.Body = event.Body(`"` + strings.Repeat("x", large) + `"`)
		r.completes(r.Execute(fanout.StartOptions(in, fixture.TaskQueue, false), in))
		requests := r.Targets["a"].Requests()
		require.Len(t, requests, 2)
		r.Targets["a"].ClearRequests()
		for i, request := range requests {
			assert.Equal(t, i+1, request.Attempt)
			assert.Equal(t, "2026-03-14T12:00:00.25Z", request.Header.Get("X-Genesys-Event-Time"))
			assert.Equal(t, "events", request.Header.Get("X-Kafka-Topic"))
			assert.Equal(t, "7", request.Header.Get("X-Kafka-Partition"))
			assert.Equal(t, fmt.Sprint(n), request.Header.Get("X-Kafka-Offset"))
		}
	}
}

// TestMaxAge_CountsAnewFromAReset: people often look at dead letters only after max_age has
// passed.
func TestMaxAge_CountsAnewFromAReset(t *testing.T) {
	r := start(t, oneTarget+`
    max_age: 3s
`)
	r.Answer("a", http.StatusBadRequest)
	run := r.StartRun("evt-1")
	require.Error(t, r.endsIn(failed, run))
	require.Equal(t, event.ReasonRejected, r.AwaitRecord("a", "evt-1").Reason)
	r.Answer("a", http.StatusOK)
	maxAge := time.NewTimer(time.Duration(r.Set.All()[0].Policy.MaxAge))
	<-maxAge.C
	r.completes(r.reset(run, firstTask))
}

// TestMaxAge_PassesDuringTheFirstAttempt: a delivery expires if the target hangs for longer
// than max_age in the first attempt.
func TestMaxAge_PassesDuringTheFirstAttempt(t *testing.T) {
	r := start(t, oneTarget+`
    timeout: 3s
    max_age: 2s
`)
	r.Targets["a"].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Hang: true} })
	r.StartRun("evt-1")
	record := r.AwaitRecord("a", "evt-1")
	assert.Equal(t, event.ReasonExpired, record.Reason)
	assert.Equal(t, 1, record.Attempts)
	assert.Contains(t, record.Error, "max_age has passed; no answer within 3s")
}

// TestMaxAge_ExpiresAtOnceIfTheNextAttemptWouldComeTooLate checks that a delivery does not
// wait for max_age to pass if it cannot succeed any more, and that the error says why.
func TestMaxAge_ExpiresAtOnceIfTheNextAttemptWouldComeTooLate(t *testing.T) {
	retryAfter := func(seconds string) http.Header { return http.Header{"Retry-After": {seconds}} }
	for name, test := range map[string]struct {
		settings string
		answers  []devstack.Answer // to the attempts
		reason   event.Reason
		error    string
	}{
		"first attempt, the target asks": {
			settings: `
    max_age: 40s
`,
			answers: []devstack.Answer{{Status: http.StatusTooManyRequests, Header: retryAfter("60"), Body: "slow down"}},
			reason:  event.ReasonExpired,
			error:   `^a wait of 1m0s \(asked for by the target\) is longer than the \S+ that are left of max_age 40s; 429 Too Many Requests: slow down$`,
		},
		"first attempt, backoff": {
			settings: `
    max_age: 40s
    retry_statuses: [503]
    backoff: {initial: 1m}
`,
			answers: []devstack.Answer{{Status: http.StatusServiceUnavailable}},
			reason:  event.ReasonExpired,
			error:   `^a wait of 1m0s \(the backoff\) is longer than the \S+ that are left of max_age 40s; 503 Service Unavailable$`,
		},
		"retry lane": {
			settings: `
    max_age: 40s
    retry_statuses: [503]
    backoff: {initial: 1s}
`,
			answers: []devstack.Answer{{Status: http.StatusServiceUnavailable}, {Status: http.StatusServiceUnavailable, Header: retryAfter("3600")}},
			reason:  event.ReasonExpired,
			error:   `^a wait of 15m0s \(asked for by the target\) is longer than the \S+ that are left of max_age 40s; 503 Service Unavailable$`,
		},
		"the last attempt is exhausted instead": {
			settings: `
    max_age: 40s
    max_attempts: 1
`,
			answers: []devstack.Answer{{Status: http.StatusTooManyRequests, Header: retryAfter("60")}},
			reason:  event.ReasonExhausted,
			error:   `^429 Too Many Requests$`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, oneTarget+test.settings)
			r.Targets["a"].SetScript(func(request devstack.Request) devstack.Answer { return test.answers[request.Attempt-1] })
			began := time.Now()
			run := r.StartRun("evt-1")
			record := r.AwaitRecord("a", "evt-1")
			assert.Less(t, time.Since(began), 30*time.Second)
			assert.Equal(t, test.reason, record.Reason)
			assert.Equal(t, len(test.answers), record.Attempts)
			assert.Equal(t, test.answers[len(test.answers)-1].Status, record.StatusCode)
			assert.Regexp(t, test.error, record.Error)
			require.ErrorContains(t, r.endsIn(failed, run), "a "+string(test.reason)+" after")
		})
	}
}

// TestMaxAge_KeepsTheLastErrorIfNobodyPollsTheRetryLane checks that the dead letter has the
// error of the last attempt, however long it is, if max_age passes while no worker polls the
// target's queue.
func TestMaxAge_KeepsTheLastErrorIfNobodyPollsTheRetryLane(t *testing.T) {
	r := start(t, oneTarget+`
    retry_statuses: [503]
    max_attempts: 100
    max_age: 5s
    backoff: {initial: 1s, multiplier: 1}
`)
	page := strings.Repeat("x", 4<<10)
	r.Targets["a"].SetScript(func(devstack.Request) devstack.Answer {
		return devstack.Answer{Status: http.StatusServiceUnavailable, Body: page}
	})
	r.StartRun("evt-1")
	r.awaitRequests("a", 3)
	r.StopRetryLane["a"]()
	record := r.AwaitRecord("a", "evt-1")
	assert.Equal(t, event.ReasonExpired, record.Reason)
	assert.Equal(t, r.Targets["a"].Count(), record.Attempts)
	assert.Equal(t, http.StatusServiceUnavailable, record.StatusCode)
	assert.Contains(t, record.Error, "max_age has passed; 503 Service Unavailable: xxx")
}
