package activities

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/internal/outage"
)

// Health receives the state of each health check of the process. If err is nil, the check is
// ready.
type Health interface {
	Set(check string, err error)
}

// The health checks that a process with a tracker reports.
const (
	CheckTracker      = "tracker"       // the tracker is there and can be written
	CheckOtherTracker = "other-tracker" // no recent task needed another tracker than this one
)

const (
	// checkEvery is the pause between two checks of the tracker. A tracker that is lost must
	// show within 20 s: that is this pause and checkTimeout, and some time to spare.
	checkEvery = 5 * time.Second

	// checkTimeout is how long the tracker may take for an answer. A network file system that
	// does not answer may block for ever.
	checkTimeout = 10 * time.Second

	// countEvery is how often the open records are counted.
	countEvery = 30 * time.Second

	// otherTrackerFor is how long a process is not ready after a task that needed another
	// tracker.
	otherTrackerFor = 5 * time.Minute

	// waitingFor is how long a dead letter counts as waiting after this process failed to
	// write it: three times the longest wait before its next attempt. The count ends,
	// because another worker may have written it meanwhile, and this process cannot know.
	waitingFor = 3 * time.Minute
)

// trackerMonitor reports the state of this process's tracker to health, metrics and the log.
type trackerMonitor struct {
	tracker  Tracker
	health   Health
	notReady *outage.Outage // the tracker is not ready
	stale    *outage.Outage // the open records cannot be counted
	open     openDeadLetters

	mu                sync.Mutex
	otherTrackerUntil time.Time // when CheckOtherTracker is ready again; zero if it is ready

	// The dead letters that this process has not written yet.
	waitingUntil map[recordKey]time.Time // until when a record whose write failed is counted
	writingSince map[recordKey]time.Time // when a write that is in progress began
}

// recordKey names the dead letter of one target and one run.
type recordKey struct{ runID, target string }

func newTrackerMonitor(options Options) *trackerMonitor {
	m := &trackerMonitor{
		tracker: options.Tracker, health: options.Health,
		waitingUntil: make(map[recordKey]time.Time), writingSince: make(map[recordKey]time.Time),
	}
	if m.health == nil {
		m.health = noHealth{}
	}
	log := options.Logger
	m.notReady = outage.New(func(r outage.Report) {
		log.Error("the tracker is not ready; dead letters wait in Temporal", "error", r.Err, "for", r.Age)
	}, func(r outage.Report) {
		log.Info("the tracker is ready again", "tracker", m.tracker.String(), "after", r.Age)
	})
	m.stale = outage.New(func(r outage.Report) {
		log.Warn("the open dead letters cannot be counted; fanout_open_dead_letters is stale", "error", r.Err, "for", r.Age)
	}, func(r outage.Report) {
		log.Info("the open dead letters are counted again", "after", r.Age)
	})
	if options.Tracker != nil && options.Metrics != nil {
		options.Metrics.MustRegister(&m.open, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fanout_dead_letters_waiting",
			Help: "Dead letters that this process could not write into the tracker yet; Temporal retries them.",
		}, func() float64 { return float64(m.countWaiting()) }))
	}
	return m
}

type noHealth struct{}

func (noHealth) Set(string, error) {}

// WatchTracker reports on the tracker until ctx ends: every 5 s whether it is ready, and every
// 30 s how many records are open.
func (a *Activities) WatchTracker(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { a.monitor.checkUntil(ctx) })
	loops.Go(func() { a.monitor.countUntil(ctx) })
	loops.Wait()
}

// checkUntil checks the tracker until ctx ends.
func (m *trackerMonitor) checkUntil(ctx context.Context) {
	for ctx.Err() == nil {
		m.check(ctx)
		m.countWaiting() // forgets old entries, also if nobody reads the metric
		_ = wait(ctx, checkEvery, nil)
	}
}

// check reports whether the tracker is ready. While the tracker does not answer, check does not
// return, and reports the tracker as not ready.
func (m *trackerMonitor) check(ctx context.Context) {
	began := time.Now()
	answer := make(chan error, 1)
	go func() { answer <- m.tracker.Check(ctx) }()
	late := time.NewTimer(checkTimeout)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			m.report(fmt.Errorf("the tracker %s has not answered since %s; check its file system", m.tracker, began.Format(time.RFC3339)))
			late.Reset(checkEvery)
		case err := <-answer:
			if ctx.Err() == nil { // otherwise the end of ctx may be the error
				m.report(err)
			}
			return
		}
	}
}

// report reports whether the tracker is ready to health and to the log.
func (m *trackerMonitor) report(err error) {
	m.health.Set(CheckTracker, err)
	m.notReady.Observe(err)
}

// countUntil counts the open records until ctx ends. If there are very many records, a count
// takes long. The pause after it is nine times as long, so that at most a tenth of the time is
// spent on counting.
func (m *trackerMonitor) countUntil(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		counts, err := m.tracker.Count(ctx)
		if ctx.Err() != nil {
			return
		}
		m.stale.Observe(err)
		if err == nil {
			m.open.update(counts)
		}
		_ = wait(ctx, max(countEvery, 9*time.Since(began)), nil)
	}
}

// reportOtherTracker makes the process not ready for otherTrackerFor. err says which tracker a
// task needed.
func (m *trackerMonitor) reportOtherTracker(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.otherTrackerUntil.IsZero() {
		time.AfterFunc(otherTrackerFor, m.clearOtherTracker)
	}
	m.otherTrackerUntil = time.Now().Add(otherTrackerFor)
	m.health.Set(CheckOtherTracker, err)
}

// clearOtherTracker makes the process ready again if its time has come. Otherwise another task
// needed another tracker meanwhile, and clearOtherTracker runs again later.
func (m *trackerMonitor) clearOtherTracker() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if left := time.Until(m.otherTrackerUntil); left > 0 {
		time.AfterFunc(left, m.clearOtherTracker)
		return
	}
	m.otherTrackerUntil = time.Time{}
	m.health.Set(CheckOtherTracker, nil)
}

// beginWrite records that a dead letter is being written, until the caller calls end. A file
// system that does not answer may block the write for ever. Then the write does not fail, but the
// dead letter still counts as waiting.
func (m *trackerMonitor) beginWrite(runID, target string) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := recordKey{runID, target}
	m.writingSince[key] = time.Now()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.writingSince, key)
	}
}

// recordWrite records whether a dead letter was written.
func (m *trackerMonitor) recordWrite(runID, target string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := recordKey{runID, target}
	if err == nil {
		delete(m.waitingUntil, key)
		return
	}
	m.waitingUntil[key] = time.Now().Add(waitingFor)
}

// countWaiting returns how many dead letters this process could not write yet: those whose last
// write failed, and those whose write takes longer than checkTimeout.
func (m *trackerMonitor) countWaiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for key, until := range m.waitingUntil {
		if now.After(until) {
			delete(m.waitingUntil, key)
		}
	}
	waiting := len(m.waitingUntil)
	for key, since := range m.writingSince {
		if _, counted := m.waitingUntil[key]; !counted && now.Sub(since) > checkTimeout {
			waiting++
		}
	}
	return waiting
}
