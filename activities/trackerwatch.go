package activities

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Health takes note of what is ready.
type Health interface {
	Set(check string, err error)
}

// The health checks that a process with a tracker reports to.
const (
	CheckTracker      = "tracker"       // it is there and can be written
	CheckOtherTracker = "other-tracker" // no task needed another one lately
)

const (
	// checkEvery is how often the tracker is looked at. A lost one must show
	// within 20 s.
	checkEvery = 5 * time.Second

	// checkPatience is how long the tracker may take for an answer: a network file
	// system that is away may block for ever.
	checkPatience = 10 * time.Second

	// countEvery is how often open records are counted.
	countEvery = 30 * time.Second

	// otherTrackerFor is how long a process is not ready after a task that needed
	// another tracker.
	otherTrackerFor = 5 * time.Minute

	// waitingFor is how long a dead letter counts as waiting after this process
	// failed to write it: three times the longest wait before its next attempt.
	// Another worker may have written it meanwhile, which nobody says here.
	waitingFor = 3 * time.Minute
)

// trackerWatch reports how the tracker of this process is: to its health and its
// metrics.
type trackerWatch struct {
	tracker Tracker
	health  Health
	log     *slog.Logger
	open    openDeadLetters

	mu         sync.Mutex
	otherUntil time.Time
	waiting    map[letter]time.Time // until when each counts
	writing    map[letter]time.Time // since when this process tries to write each
}

// letter is one dead letter of one run.
type letter struct{ runID, target string }

func newTrackerWatch(options Options) *trackerWatch {
	w := &trackerWatch{
		tracker: options.Tracker, health: options.Health, log: options.Logger,
		waiting: make(map[letter]time.Time), writing: make(map[letter]time.Time),
	}
	if w.health == nil {
		w.health = noHealth{}
	}
	if options.Tracker != nil && options.Metrics != nil {
		options.Metrics.MustRegister(&w.open, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fanout_dead_letters_waiting",
			Help: "Dead letters that this process could not write into the tracker yet; Temporal holds them.",
		}, w.waitingCount))
	}
	return w
}

type noHealth struct{}

func (noHealth) Set(string, error) {}

// WatchTracker reports on the tracker until ctx ends: every few seconds whether it
// is ready, and every 30 s how many records are open.
func (a *Activities) WatchTracker(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { a.watch.check(ctx) })
	both.Go(func() { a.watch.count(ctx) })
	both.Wait()
}

// check reports whether the tracker is ready. A check that does not return keeps
// the process not ready until it does.
func (w *trackerWatch) check(ctx context.Context) {
	for ready := true; ctx.Err() == nil; {
		began := time.Now()
		answer := make(chan error, 1)
		go func() { answer <- w.tracker.Check(ctx) }()
		var err error
		select {
		case err = <-answer:
		case <-time.After(checkPatience):
			ready = w.report(ready, fmt.Errorf("the tracker %s does not answer since %s; look at its file system", w.tracker, began.Format(time.RFC3339)))
			select {
			case err = <-answer:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		if ctx.Err() == nil {
			ready = w.report(ready, err)
			w.waitingCount() // forgets old ones, whether or not anybody reads the metric
			wait(ctx, checkEvery)
		}
	}
}

// report passes on whether the tracker is ready, and logs a change.
func (w *trackerWatch) report(was bool, err error) (ready bool) {
	w.health.Set(CheckTracker, err)
	switch ready = err == nil; {
	case was && !ready:
		w.log.Error("the tracker is not ready; dead letters wait in Temporal", "error", err)
	case ready && !was:
		w.log.Info("the tracker is ready again", "tracker", w.tracker.String())
	}
	return ready
}

// count counts the open records. A pass over very many records takes a while:
// the next one comes when nine times as long has passed, so that counting takes
// a tenth of the time at most.
func (w *trackerWatch) count(ctx context.Context) {
	stale := false
	for ctx.Err() == nil {
		began := time.Now()
		counts, err := w.tracker.Count(ctx)
		switch {
		case err == nil:
			stale = false
			w.open.set(counts)
		case ctx.Err() == nil && !stale:
			stale = true
			w.log.Warn("the open dead letters were not counted; fanout_open_dead_letters is stale", "error", err)
		}
		wait(ctx, max(countEvery, 9*time.Since(began)))
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// askedForOther makes the process not ready for otherTrackerFor.
func (w *trackerWatch) askedForOther(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.otherUntil.IsZero() {
		time.AfterFunc(otherTrackerFor, w.forgetOther)
	}
	w.otherUntil = time.Now().Add(otherTrackerFor)
	w.health.Set(CheckOtherTracker, err)
}

// forgetOther makes the process ready again once the last such task is long ago.
func (w *trackerWatch) forgetOther() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := time.Until(w.otherUntil); left > 0 {
		time.AfterFunc(left, w.forgetOther)
		return
	}
	w.otherUntil = time.Time{}
	w.health.Set(CheckOtherTracker, nil)
}

// writes notes that a dead letter is being written, until it is ended. A file system
// that is away may block for ever, and then nothing says that the write failed.
func (w *trackerWatch) writes(runID, target string) (ended func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := letter{runID, target}
	w.writing[key] = time.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.writing, key)
	}
}

// wrote notes whether a dead letter was written.
func (w *trackerWatch) wrote(runID, target string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := letter{runID, target}
	if err == nil {
		delete(w.waiting, key)
		return
	}
	w.waiting[key] = time.Now().Add(waitingFor)
}

func (w *trackerWatch) waitingCount() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for key, until := range w.waiting {
		if now.After(until) {
			delete(w.waiting, key)
		}
	}
	waiting := len(w.waiting)
	for key, since := range w.writing {
		if _, counted := w.waiting[key]; !counted && now.Sub(since) > checkPatience {
			waiting++
		}
	}
	return float64(waiting)
}
