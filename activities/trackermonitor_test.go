package activities

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// answering is a tracker whose answers a test gives.
type answering struct {
	Tracker
	check  func(context.Context) error
	count  func(context.Context) ([]deadletter.Count, error)
	record func() error
}

func (a answering) Check(ctx context.Context) error                       { return a.check(ctx) }
func (a answering) Count(ctx context.Context) ([]deadletter.Count, error) { return a.count(ctx) }
func (a answering) Record(context.Context, deadletter.Record) error       { return a.record() }
func (a answering) ID() string                                            { return "tracker-1" }
func (a answering) String() string                                        { return "/data/dead-letters" }

// lastOf keeps what was last reported of each health check.
type lastOf struct {
	mu sync.Mutex
	by map[string]error
}

func newLastOf() *lastOf { return &lastOf{by: make(map[string]error)} }

func (l *lastOf) Set(check string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[check] = err
}

func (l *lastOf) of(check string) (err error, told bool) { //nolint:revive // an error that is looked up
	l.mu.Lock()
	defer l.mu.Unlock()
	err, told = l.by[check]
	return err, told
}

// TestWatchTracker_ReadyAsLongAsTheTrackerAnswers: one that is lost shows within
// 20 s, also if it says nothing at all, and one that is back shows too.
func TestWatchTracker_ReadyAsLongAsTheTrackerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var answer error
		var hang chan struct{}
		set := func(err error, block chan struct{}) {
			mu.Lock()
			defer mu.Unlock()
			answer, hang = err, block
		}
		var checked atomic.Int64
		tracker := answering{
			check: func(context.Context) error {
				checked.Add(1)
				mu.Lock()
				err, block := answer, hang
				mu.Unlock()
				if block != nil {
					<-block
				}
				return err
			},
			count: func(context.Context) ([]deadletter.Count, error) { return nil, nil },
		}
		health := newLastOf()
		a := New(Options{Tracker: tracker, Health: health})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); a.WatchTracker(ctx) }()
		ready := func() error {
			synctest.Wait()
			err, told := health.of(CheckTracker)
			require.True(t, told)
			return err
		}
		require.NoError(t, ready(), "at once")
		set(errors.New("away"), nil)
		time.Sleep(checkEvery) // by the bubble's clock
		require.EqualError(t, ready(), "away")
		set(nil, nil)
		time.Sleep(checkEvery)
		require.NoError(t, ready())
		block := make(chan struct{})
		set(nil, block)
		time.Sleep(20 * time.Second)
		require.ErrorContains(t, ready(), "the tracker /data/dead-letters does not answer since")
		set(nil, nil)
		close(block)
		require.NoError(t, ready())
		before := checked.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, int64(time.Minute/checkEvery), checked.Load()-before, "no more often than that")
		stop()
		<-ended
	})
}

// TestWatchTracker_CountsEvery30Seconds, and less often if counting takes long.
func TestWatchTracker_CountsEvery30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		counts, takes := []deadletter.Count{{Target: "a", Reason: event.ReasonRejected, Records: 2, Oldest: time.Now().Add(-time.Hour)}}, time.Duration(0)
		var counted atomic.Int64
		var failure error
		tracker := answering{
			check: func(context.Context) error { return nil },
			count: func(context.Context) ([]deadletter.Count, error) {
				counted.Add(1)
				mu.Lock()
				slow := takes
				mu.Unlock()
				time.Sleep(slow)
				mu.Lock()
				defer mu.Unlock()
				return counts, failure
			},
		}
		registry := prometheus.NewRegistry()
		a := New(Options{Tracker: tracker, Metrics: registry, Logger: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); a.WatchTracker(ctx) }()
		shows := func(want string) {
			t.Helper()
			synctest.Wait()
			require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(want), "fanout_open_dead_letters", "fanout_oldest_dead_letter_seconds"))
		}
		const help = `
# HELP fanout_oldest_dead_letter_seconds Age of the oldest open record by target, from when its delivery was given up; 0 if none is open.
# TYPE fanout_oldest_dead_letter_seconds gauge
# HELP fanout_open_dead_letters Open records of the tracker by target and reason, counted every 30 s; damaged is a file that holds no record. Each worker of a tracker shows all.
# TYPE fanout_open_dead_letters gauge
`
		shows(help + `
fanout_open_dead_letters{reason="rejected",target="a"} 2
fanout_oldest_dead_letter_seconds{target="a"} 3600
`)
		mu.Lock()
		counts = nil
		mu.Unlock()
		time.Sleep(countEvery - time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 1, counted.Load())
		time.Sleep(time.Millisecond)
		shows(help + `
fanout_open_dead_letters{reason="rejected",target="a"} 0
fanout_oldest_dead_letter_seconds{target="a"} 0
`)
		mu.Lock()
		failure, takes = errors.New("away"), time.Minute
		mu.Unlock()
		time.Sleep(countEvery + time.Minute) // the third count has ended, without a result
		synctest.Wait()
		assert.EqualValues(t, 3, counted.Load())
		time.Sleep(9*time.Minute - time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, counted.Load(), "a tenth of the time is for counting")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 4, counted.Load())
		stop()
		time.Sleep(time.Minute)
		<-ended
	})
}

// TestOpenDeadLetters_TheOldestOfATarget over all of its reasons.
func TestOpenDeadLetters_TheOldestOfATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		var o openDeadLetters
		o.update([]deadletter.Count{
			{Target: "a", Reason: deadletter.Damaged, Records: 1},
			{Target: "a", Reason: event.ReasonRejected, Records: 1, Oldest: now.Add(-time.Minute)},
			{Target: "a", Reason: event.ReasonExpired, Records: 1, Oldest: now.Add(-time.Hour)},
			{Target: "a", Reason: event.ReasonExhausted, Records: 1, Oldest: now.Add(time.Hour)},
			{Target: "b", Reason: deadletter.Damaged, Records: 1},
			{Target: "c", Reason: event.ReasonRejected, Records: 1, Oldest: now.Add(time.Hour)},
		})
		assert.Equal(t, map[string]time.Time{"a": now.Add(-time.Hour), "b": {}, "c": now.Add(time.Hour)}, o.oldest)
		registry := prometheus.NewRegistry()
		registry.MustRegister(&o)
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		assert.Empty(t, problems)
	})
}

// TestAskedForOther_NotReadyForFiveMinutesAfterTheLast.
func TestAskedForOther_NotReadyForFiveMinutesAfterTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := newLastOf()
		m := newTrackerMonitor(Options{Health: health})
		ready := func() error { synctest.Wait(); err, _ := health.of(CheckOtherTracker); return err }
		m.reportOtherTracker(errors.New("first"))
		require.EqualError(t, ready(), "first")
		time.Sleep(4 * time.Minute)
		m.reportOtherTracker(errors.New("second"))
		time.Sleep(5*time.Minute - time.Second)
		require.EqualError(t, ready(), "second")
		time.Sleep(time.Second)
		require.NoError(t, ready())
		time.Sleep(time.Hour)
		m.reportOtherTracker(errors.New("third"))
		require.EqualError(t, ready(), "third")
		time.Sleep(5 * time.Minute)
		require.NoError(t, ready())
	})
}

// TestWaiting_UntilWrittenHereOrElsewhere: what another worker wrote is no longer
// tried here, and is forgotten.
func TestWaiting_UntilWrittenHereOrElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTrackerMonitor(Options{})
		away := errors.New("away")
		for range 3 {
			m.recordWrite("run-1", "a", away)
		}
		m.recordWrite("run-1", "b", away)
		m.recordWrite("run-2", "a", away)
		assert.InDelta(t, 3, m.countWaiting(), 0)
		m.recordWrite("run-1", "a", nil)
		assert.InDelta(t, 2, m.countWaiting(), 0)
		time.Sleep(2 * time.Minute)
		m.recordWrite("run-2", "a", away)
		time.Sleep(time.Minute + time.Second)
		assert.InDelta(t, 1, m.countWaiting(), 0, "run-2 was tried again since")
		time.Sleep(waitingFor)
		assert.Zero(t, m.countWaiting())
	})
}

// TestWaiting_WhileAWriteBlocks, as on a network file system that is away.
func TestWaiting_WhileAWriteBlocks(t *testing.T) {
	set := load(t, "http://example.com", "  - {name: a, url: $URL}\n")
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		acts := New(Options{Targets: set, Logger: slog.New(slog.DiscardHandler), Tracker: answering{record: func() error { <-back; return nil }}})
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.RegisterActivity(acts.RecordDeadLetter)
		ended := make(chan error)
		go func() {
			_, err := env.ExecuteActivity(acts.RecordDeadLetter, fanout.RecordDeadLetterInput{Target: "a", Message: event.Message{Event: event.Event{ID: "evt-1"}}, NoBody: true})
			ended <- err
		}()
		time.Sleep(checkTimeout)
		assert.Zero(t, acts.monitor.countWaiting(), "a slow disk is no fault")
		time.Sleep(time.Hour)
		assert.InDelta(t, 1, acts.monitor.countWaiting(), 0)
		close(back)
		require.ErrorContains(t, <-ended, "StartToClose", "Temporal gave it up long ago")
		synctest.Wait()
		assert.Zero(t, acts.monitor.countWaiting())
	})
}

func TestOtherTrackerDelay_GrowsAndIsNeverInStep(t *testing.T) {
	for attempt, least := range map[int32]time.Duration{
		1: time.Second, 10: time.Second, 11: 2 * time.Second, 12: 4 * time.Second, 15: 30 * time.Second, 1 << 30: 30 * time.Second,
	} {
		delays := make(map[time.Duration]bool)
		for range 10 {
			delay := otherTrackerDelay(attempt)
			delays[delay] = true
			assert.GreaterOrEqual(t, delay, least, attempt)
			assert.Less(t, delay, 2*least, attempt)
		}
		assert.Greater(t, len(delays), 1, "tasks in step meet the same worker each time")
	}
}
