package activities

import (
	"bytes"
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
	"genesys-fanout/internal/outage"
)

// fakeTracker is a tracker whose answers come from the test.
type fakeTracker struct {
	Tracker
	check  func(context.Context) error
	count  func(context.Context) ([]deadletter.Count, error)
	record func() error
}

func (f fakeTracker) Check(ctx context.Context) error                       { return f.check(ctx) }
func (f fakeTracker) Count(ctx context.Context) ([]deadletter.Count, error) { return f.count(ctx) }
func (f fakeTracker) Record(context.Context, deadletter.Record) error       { return f.record() }
func (f fakeTracker) ID() string                                            { return "tracker-1" }
func (f fakeTracker) String() string                                        { return "/data/dead-letters" }

// lastHealth is a Health that remembers the last state of each check.
type lastHealth struct {
	mu      sync.Mutex
	byCheck map[string]error
}

func newLastHealth() *lastHealth { return &lastHealth{byCheck: make(map[string]error)} }

func (l *lastHealth) Set(check string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byCheck[check] = err
}

func (l *lastHealth) of(check string) (err error, ok bool) { //nolint:revive // the error is a value of the map
	l.mu.Lock()
	defer l.mu.Unlock()
	err, ok = l.byCheck[check]
	return err, ok
}

// A tracker that is lost shows within 20 s, also if it does not answer at all. A tracker that is
// back shows too. The log reports both, and repeats every 30 s that the tracker is not ready.
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
		tracker := fakeTracker{
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
		health := newLastHealth()
		logged := &lockedBuffer{}
		a := New(Options{Tracker: tracker, Health: health, Logger: slog.New(slog.NewTextHandler(logged, nil))})
		logs := func(text string) int { synctest.Wait(); return logged.count(text) }
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); a.WatchTracker(ctx) }()
		ready := func() error {
			synctest.Wait()
			err, ok := health.of(CheckTracker)
			require.True(t, ok)
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
		require.ErrorContains(t, ready(), "the tracker /data/dead-letters has not answered since")
		reports := logs("the tracker is not ready")
		time.Sleep(2 * outage.Interval)
		require.ErrorContains(t, ready(), "the tracker /data/dead-letters has not answered since")
		assert.Equal(t, reports+2, logs("the tracker is not ready"))
		set(nil, nil)
		close(block)
		require.NoError(t, ready())
		assert.Equal(t, 2, logs("the tracker is ready again"))
		before := checked.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, int64(time.Minute/checkEvery), checked.Load()-before, "one check every 5 s")
		stop()
		<-ended
	})
}

func TestWatchTracker_CountsEvery30SecondsAndLessOftenIfCountingTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		counts, takes := []deadletter.Count{{Target: "a", Reason: event.ReasonRejected, Records: 2, Oldest: time.Now().Add(-time.Hour)}}, time.Duration(0)
		var counted atomic.Int64
		var failure error
		tracker := fakeTracker{
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
		var logged bytes.Buffer // written by one goroutine, and read while it is blocked
		a := New(Options{Tracker: tracker, Metrics: registry, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
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
# HELP fanout_open_dead_letters Open records of the tracker by target and reason, counted every 30 s; damaged is a file that cannot be read as a record. Each worker of a tracker shows all.
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
		assert.Contains(t, logged.String(), "fanout_open_dead_letters is stale")
		time.Sleep(9*time.Minute - time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, counted.Load(), "counting takes a tenth of the time")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 4, counted.Load())
		mu.Lock()
		failure = nil
		mu.Unlock()
		time.Sleep(time.Minute) // the fourth count ends
		synctest.Wait()
		assert.Contains(t, logged.String(), "the open dead letters are counted again")
		stop()
		<-ended
	})
}

func TestOpenDeadLetters_OldestIsOverAllReasonsOfATarget(t *testing.T) {
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

func TestReportOtherTracker_NotReadyForFiveMinutesAfterTheLastReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := newLastHealth()
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

// If another worker wrote the dead letter, this process does not try again, and the dead letter
// stops counting.
func TestCountWaiting_UntilTheDeadLetterIsWrittenHereOrByAnotherWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTrackerMonitor(Options{})
		away := errors.New("away")
		for range 3 {
			m.recordWrite("run-1", "a", away)
		}
		m.recordWrite("run-1", "b", away)
		m.recordWrite("run-2", "a", away)
		assert.Equal(t, 3, m.countWaiting())
		m.recordWrite("run-1", "a", nil)
		assert.Equal(t, 2, m.countWaiting())
		time.Sleep(2 * time.Minute)
		m.recordWrite("run-2", "a", away)
		time.Sleep(time.Minute + time.Second)
		assert.Equal(t, 1, m.countWaiting(), "run-2 was tried again meanwhile")
		time.Sleep(waitingFor)
		assert.Zero(t, m.countWaiting())
	})
}

// A write to a network file system that does not answer blocks.
func TestCountWaiting_CountsAWriteThatBlocks(t *testing.T) {
	set := load(t, "http://example.com", `- {name: a, url: $URL}`)
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		acts := New(Options{Targets: set, Logger: slog.New(slog.DiscardHandler), Tracker: fakeTracker{record: func() error { <-back; return nil }}})
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.RegisterActivity(acts.RecordDeadLetter)
		ended := make(chan error)
		go func() {
			_, err := env.ExecuteActivity(acts.RecordDeadLetter, fanout.RecordDeadLetterInput{Target: "a", Message: event.Message{Event: event.Event{ID: "evt-1"}}, NoBody: true})
			ended <- err
		}()
		time.Sleep(checkTimeout)
		assert.Zero(t, acts.monitor.countWaiting(), "a slow disk is not an error")
		time.Sleep(time.Hour)
		assert.Equal(t, 1, acts.monitor.countWaiting())
		close(back)
		require.ErrorContains(t, <-ended, "StartToClose", "Temporal ended the activity long ago")
		synctest.Wait()
		assert.Zero(t, acts.monitor.countWaiting())
	})
}

func TestOtherTrackerDelay_GrowsAndIsRandom(t *testing.T) {
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
		assert.Greater(t, len(delays), 1, "tasks that come back at the same moment meet the same worker each time")
	}
}

// lockedBuffer keeps what one goroutine logs while another one reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), text)
}
