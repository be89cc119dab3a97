package activities

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
)

func TestFirst_ForgetsAnAttemptThatPanicked(t *testing.T) {
	requests := newRequests("process-1")
	assert.Panics(t, func() {
		_, _ = requests.first(t.Context(), "run-1", "a", func() (fanout.Outcome, bool) { panic("boom") })
	})
	answered := make(chan fanout.Outcome, 1)
	go func() {
		outcome, _ := requests.first(context.Background(), "run-1", "a", func() (fanout.Outcome, bool) { return fanout.Outcome{Verdict: fanout.Delivered}, true })
		answered <- outcome
	}()
	assert.Equal(t, fanout.Delivered, await.Receive(t, "the answer to the next caller", answered).Verdict)
}

// recall asks the process of acts about a request, as another process's workflow does.
func (f *fixture) recall(acts *Activities, number int64) fanout.RecallResult {
	f.t.Helper()
	env := f.suite.NewTestActivityEnvironment()
	env.RegisterActivity(acts.Recall)
	value, err := env.ExecuteActivity(acts.Recall, fanout.RecallInput{Target: f.targets.All()[0].Name(), RunID: "default-test-run-id", Number: number})
	require.NoError(f.t, err)
	var result fanout.RecallResult
	require.NoError(f.t, value.Get(&result))
	return result
}

func counting(requests *atomic.Int32) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { requests.Add(1) }
}

func TestRecall_ReturnsTheOutcomeOfTheFirstAttempt(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, counting(&requests), `- {name: a, url: $URL}`)
	require.Equal(t, fanout.Delivered, f.firstAttempt(f.delivery()).Verdict)
	result := f.recall(f.acts, 0)
	assert.True(t, result.Sent)
	assert.Equal(t, fanout.Delivered, result.Verdict)
	assert.EqualValues(t, 1, requests.Load())
}

// A workflow task that Temporal has lost may still run in this process.
func TestRecall_PreventsAFirstAttemptThatWasNotMade(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, counting(&requests), `- {name: a, url: $URL}`)
	require.False(t, f.recall(f.acts, 0).Sent)
	require.Equal(t, fanout.Held, f.firstAttempt(f.delivery()).Verdict)
	require.Zero(t, requests.Load())
}

func TestDeliver_RecordsThatAnAttemptBeginsBeforeItsRequestAndTheAnswerAfterIt(t *testing.T) {
	var f *fixture
	f = newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		assert.Len(t, f.ledger, 1)
		w.WriteHeader(http.StatusTooManyRequests)
	}, `- {name: a, url: $URL}`)
	d := f.delivery()
	d.Progress = fanout.Progress{Attempts: 1, StatusCode: 429, Error: "429"}
	_, failure := f.deliver(d, nil)
	require.NotNil(t, failure)
	assert.Equal(t, []fanout.Progress{
		{Attempts: 2, StatusCode: 429, Error: "429", InFlight: fanout.Request{Process: "process-1", Number: 1}},
		{Attempts: 2, StatusCode: 429, Error: "429 Too Many Requests"},
	}, f.ledger)
}

// The completion or the failure of the activity shows that the event was delivered or given up.
func TestDeliver_RecordsNoAnswerIfTheDeliveryHasEnded(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
		f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }, `- {name: a, url: $URL}`)
		_, _ = f.deliver(f.delivery(), nil)
		assert.Len(t, f.ledger, 1, status)
	}
}

func TestDeliver_SendsNothingAndSpendsNoAttemptIfTheBeginIsNotAcknowledged(t *testing.T) {
	before := fanout.Progress{Attempts: 2, StatusCode: 503, Error: "503"}
	for name, test := range map[string]struct {
		answer  error
		failure string
	}{
		"no answer in time": {context.DeadlineExceeded, fanout.FailureHeld},
		"paused":            {activity.ErrActivityPaused, fanout.FailureHeld},
		"reset":             {activity.ErrActivityReset, fanout.FailureHeld},
		"canceled":          {temporal.NewCanceledError(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL}`)
			f.heartbeat = func(context.Context, fanout.Progress) error { return test.answer }
			env := f.suite.NewTestActivityEnvironment()
			env.RegisterActivity(f.acts.Deliver)
			env.SetHeartbeatDetails(before)
			_, err := env.ExecuteActivity(f.acts.Deliver, f.delivery())
			require.Error(t, err)
			if test.failure != "" {
				failure, ok := errors.AsType[*temporal.ApplicationError](err)
				require.True(t, ok)
				assert.Equal(t, test.failure, failure.Type())
			} else {
				reason, progress := fanout.Explain(err, fanout.Progress{Attempts: 1})
				assert.Equal(t, event.ReasonCanceled, reason)
				assert.Equal(t, fanout.Progress{Attempts: 2, StatusCode: 503, Error: "the run was canceled; 503"}, progress)
			}
			assert.Equal(t, before, fanout.LastProgress(err, fanout.Progress{}))
			assert.Equal(t, before, f.ledger[len(f.ledger)-1], "the ledger is as it was")
			assert.Len(t, fill(f.acts.admissions.of(f.targets.All()[0]), RetryLane), 64, "the permit is released")

			// Temporal may have recorded what it did not acknowledge.
			f.heartbeat = nil
			result := f.recall(f.acts, 1)
			assert.False(t, result.Sent)
		})
	}
}

// Temporal has lost the completion of the task, and dispatches the task again.
func TestDeliver_ARequestOfThisProcessIsNotSentAgain(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, counting(&requests), `- {name: a, url: $URL, max_attempts: 1}`)
	_, failure := f.deliver(f.delivery(), nil)
	require.Nil(t, failure)
	inFlight := f.ledger[0]
	outcome, failure := f.deliver(f.delivery(), &inFlight)
	require.Nil(t, failure)
	assert.Equal(t, fanout.Delivered, outcome.Verdict)
	assert.EqualValues(t, 1, requests.Load())
}

func TestDeliver_AnAttemptThatWasNotSentIsMade(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, counting(&requests), `- {name: a, url: $URL, max_attempts: 1}`)
	f.heartbeat = func(context.Context, fanout.Progress) error { return context.DeadlineExceeded }
	_, failure := f.deliver(f.delivery(), nil)
	require.NotNil(t, failure)
	f.heartbeat = nil
	inFlight := f.ledger[0] // Temporal recorded it after all
	outcome, failure := f.deliver(f.delivery(), &inFlight)
	require.Nil(t, failure)
	assert.Equal(t, fanout.Progress{Attempts: 1, StatusCode: 200}, outcome.Progress)
	assert.EqualValues(t, 1, requests.Load())
}

func TestDeliver_FailsWithUnknownIfAnotherProcessBeganTheLastRequest(t *testing.T) {
	var requests atomic.Int32
	f := newFixture(t, counting(&requests), `- {name: a, url: $URL}`)
	_, failure := f.deliver(f.delivery(), nil)
	require.Nil(t, failure)
	first, inFlight := f.acts, f.ledger[0]
	f.registry = nil
	f.acts = New(Options{Process: "process-2", Targets: f.targets})
	_, failure = f.deliver(f.delivery(), &inFlight)
	require.NotNil(t, failure)
	assert.True(t, fanout.IsUnknown(failure))
	assert.True(t, failure.NonRetryable())
	assert.Equal(t, inFlight, fanout.LastProgress(failure, fanout.Progress{}))
	result := f.recall(first, inFlight.InFlight.Number)
	assert.True(t, result.Sent)
	assert.Equal(t, fanout.Delivered, result.Verdict)
	assert.EqualValues(t, 1, requests.Load())
}

func TestDeliver_ALastAttemptThatThisProcessHasForgottenIsNotMadeAgain(t *testing.T) {
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL, max_attempts: 2}`)
	_, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: 2, StatusCode: 503, InFlight: fanout.Request{Process: "process-1", Number: 42}})
	require.NotNil(t, failure)
	reason, progress := fanout.Explain(failure, fanout.Progress{})
	assert.Equal(t, event.ReasonExhausted, reason)
	assert.Equal(t, fanout.Progress{Attempts: 2, Error: "attempt 2 was begun by a process that no longer answers; the event may have been delivered"}, progress)
}

func TestDeliver_SendsNothingIfTheHeartbeatDetailsSayDelivered(t *testing.T) {
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL, max_attempts: 1}`)
	outcome, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: 1, StatusCode: 202})
	require.Nil(t, failure)
	assert.Equal(t, fanout.Outcome{Verdict: fanout.Delivered, Progress: fanout.Progress{Attempts: 1, StatusCode: 202}}, outcome)
}

func TestOutcome_WaitsForARequestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := newRequests("process-1")
		name, own := requests.begin()
		go func() {
			time.Sleep(time.Minute)
			own.answer(fanout.Outcome{Verdict: fanout.Delivered})
			own.finish()
		}()
		outcome, sent, err := requests.outcome(t.Context(), retryKey(name.Number))
		require.NoError(t, err)
		assert.True(t, sent)
		assert.Equal(t, fanout.Delivered, outcome.Verdict)
		_, _, err = requests.outcome(t.Context(), retryKey(name.Number+1))
		require.ErrorIs(t, err, errForgotten)
	})
}

func TestRequests_NeverDropsARequestInFlight(t *testing.T) {
	requests := newRequests("process-1")
	name, own := requests.begin()
	for range rememberedRequests + 1 {
		_, other := requests.begin()
		other.answer(fanout.Outcome{Verdict: fanout.Delivered})
		other.finish()
	}
	own.answer(fanout.Outcome{Verdict: fanout.Delivered})
	own.finish()
	_, sent, err := requests.outcome(t.Context(), retryKey(name.Number))
	require.NoError(t, err)
	assert.True(t, sent)
}

// Otherwise a first attempt that was sent, and then forgotten, would not count.
func TestRequests_DoesNotSayThatAFirstAttemptWasNotSentAfterItDroppedEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := newRequests("process-1")
		for range rememberedRequests + 1 {
			_, other := requests.begin()
			other.finish()
		}
		requests.deny("run-1", "a")
		_, _, err := requests.outcome(t.Context(), firstKey("run-1", "a"))
		require.ErrorIs(t, err, errForgotten)
		time.Sleep(forgetfulFor)
		requests.deny("run-1", "a")
		_, sent, err := requests.outcome(t.Context(), firstKey("run-1", "a"))
		require.NoError(t, err)
		assert.False(t, sent)
	})
}

func TestDeny_HoldsAlsoIfTheAttemptInFlightSendsNothing(t *testing.T) {
	requests := newRequests("process-1")
	outcome, err := requests.first(t.Context(), "run-1", "a", func() (fanout.Outcome, bool) {
		requests.deny("run-1", "a")
		return fanout.Outcome{Verdict: fanout.Held}, false
	})
	require.NoError(t, err)
	require.Equal(t, fanout.Held, outcome.Verdict)
	_, err = requests.first(t.Context(), "run-1", "a", func() (fanout.Outcome, bool) {
		t.Error("a second attempt is made")
		return fanout.Outcome{}, true
	})
	require.NoError(t, err)
}

func TestDeliver_TheHeartbeatReplacesTheProgressOfTheInput(t *testing.T) {
	f := newFixture(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, `- {name: a, url: $URL, max_attempts: 2}`)
	d := f.delivery()
	d.Progress = fanout.Progress{Attempts: 1, StatusCode: 503, Error: "503"}
	_, failure := f.deliver(d, &fanout.Progress{Attempts: 2, Error: "connection refused"})
	require.NotNil(t, failure)
	assert.Equal(t, fanout.Progress{Attempts: 2, Error: "connection refused"}, fanout.LastProgress(failure, fanout.Progress{}))
}
