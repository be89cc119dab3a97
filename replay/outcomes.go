package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"genesys-fanout/deadletter"
	"genesys-fanout/internal/outage"
)

const (
	// minPause is the pause between two checks of the records, if few deliveries are pending.
	minPause = 200 * time.Millisecond

	// pauseFactor limits the checks to a twentieth of the time. A check of 100,000 records
	// takes 0.3 s, so the next one begins 6 s later.
	pauseFactor = 20

	// idleInterval is how long no delivery has an outcome before a line names the targets
	// that the replay waits for.
	idleInterval = outage.Interval
)

// outcome is the outcome of a delivery whose run is started.
type outcome int

const (
	noOutcome outcome = iota // no outcome yet
	delivered
	failedAgain
	unresolved // the run has ended and the record is unchanged, or a user has discarded the record
)

// pendingDelivery is a delivery whose run is started and whose outcome is not known yet.
type pendingDelivery struct {
	target         string
	file           string             // of its record, a deadletter.FileName
	recordedByHash uint64             // hash of the id of the run that wrote the record
	version        deadletter.Version // of that record; zero before the first check
	run            *run
}

// outcomes finds the outcomes of the deliveries whose runs are started. It checks their
// records: a delivery that succeeded has no open record, and one that failed again has a
// record of another run. A run may end without either, for example if an operator
// terminates it; so outcomes also asks Temporal which runs have ended.
type outcomes struct {
	tracker *deadletter.Tracker
	runs    runMonitor
	hashRun func(runID string) uint64
	count   func(target string, result outcome)
	notify  func(line string)
	waiter  *outage.Waiter // for the tracker

	mu      sync.Mutex
	started []pendingDelivery // since the last check

	// Only the goroutine of watch uses the fields below.
	pending     []pendingDelivery
	ending      []*run    // runs with all outcomes known, kept up to endTimeout until Temporal reports their end
	lastOutcome time.Time // when a delivery had its outcome, or the last line said that none has
}

// trackDeliveries returns the deliveries of a run, and counts them in the run.
func (o *outcomes) trackDeliveries(e *Event, run *run) []pendingDelivery {
	var all []pendingDelivery
	for i, target := range e.Targets {
		run.undecided++
		all = append(all, pendingDelivery{target: target, file: deadletter.FileName(target, e.ID), recordedByHash: o.hashRun(e.recordedBy[i]), run: run})
	}
	return all
}

// add adds the deliveries of a run that is started.
func (o *outcomes) add(all []pendingDelivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started = append(o.started, all...)
}

// watch finds outcomes until allStarted is closed, no delivery is pending, and the last
// runs have ended.
func (o *outcomes) watch(ctx context.Context, allStarted <-chan struct{}) {
	o.lastOutcome = time.Now()
	complete := false
	for pause := minPause; ; {
		select {
		case <-allStarted:
			allStarted, complete = nil, true
		case <-time.After(pause):
		}
		began := time.Now()
		o.checkRecords()
		pause = max(minPause, pauseFactor*time.Since(began))
		if complete && len(o.pending) == 0 {
			o.runs.awaitEnds(ctx, o.ending)
			return
		}
		o.runs.updateDue(ctx, o.pending)
		o.reportIdle()
	}
}

// checkRecords counts the deliveries whose outcome the records show.
func (o *outcomes) checkRecords() {
	o.mu.Lock()
	o.pending = append(o.pending, o.started...)
	o.started = nil
	o.mu.Unlock()
	var trackerErr error
	rest := o.pending[:0]
	for _, d := range o.pending {
		result := noOutcome
		if trackerErr == nil {
			result, trackerErr = o.outcomeOf(&d)
		}
		if result == noOutcome {
			rest = append(rest, d)
			continue
		}
		o.lastOutcome = time.Now()
		o.count(d.target, result)
		if d.run.undecided--; d.run.undecided == 0 {
			d.run.completed = o.lastOutcome
			o.ending = append(o.ending, d.run)
		}
	}
	o.ending = slices.DeleteFunc(o.ending, func(r *run) bool { return time.Since(r.completed) > endTimeout })
	clear(o.pending[len(rest):])
	o.pending = rest
	if trackerErr != nil {
		o.waiter.Failed(fmt.Errorf("read the records: %w", trackerErr))
	} else {
		o.waiter.Done(nil)
	}
}

// outcomeOf returns the outcome of a delivery. An error means that the tracker is
// unavailable, so that nothing is known of its records.
func (o *outcomes) outcomeOf(d *pendingDelivery) (outcome, error) {
	ended := d.run.ended != ""
	version, found, err := o.tracker.Version(d.file)
	switch {
	case err != nil:
		return noOutcome, err
	case !found:
		return o.outcomeOfClosed(d), nil
	case version == d.version && !ended:
		return noOutcome, nil
	}
	record, err := o.tracker.GetFile(d.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noOutcome, nil // the record was closed meanwhile, which the next check finds
	case err != nil && !ended:
		return noOutcome, nil // the run may still replace the file
	case err != nil:
		o.notify(fmt.Sprintf("event %s: its run %s, and the record of target %s cannot be read: %v", d.run.event(), d.run.ended, d.target, err))
		return unresolved, nil
	case o.hashRun(record.RunID) != d.recordedByHash:
		return failedAgain, nil
	case ended:
		o.notify(fmt.Sprintf("event %s: its run %s, and the record of target %s is unchanged; look at workflow %s in Temporal, and replay the event again",
			d.run.event(), d.run.ended, d.target, d.run.workflowID))
		return unresolved, nil
	}
	d.version = version
	return noOutcome, nil
}

// outcomeOfClosed returns the outcome of a delivery whose record is no longer open. Either
// the delivery succeeded, or a user has discarded the record meanwhile.
func (o *outcomes) outcomeOfClosed(d *pendingDelivery) outcome {
	record, err := o.tracker.GetDiscarded(d.file)
	switch {
	case err != nil: // no record of this delivery was discarded, or that file is damaged
	case o.hashRun(record.RunID) == d.recordedByHash:
		o.notify(discardedLine(d.run.event(), d.target))
		return unresolved
	case d.run.id != "" && record.RunID == d.run.id:
		return failedAgain
	}
	return delivered
}

// discardedLine reports that a record was discarded before its delivery succeeded.
func discardedLine(eventID, target string) string {
	return fmt.Sprintf("event %s: the record of target %s was discarded meanwhile; the delivery counts as left", eventID, target)
}

// reportIdle names the targets that the replay waits for, if no delivery had an outcome for
// idleInterval.
func (o *outcomes) reportIdle() {
	idle := time.Since(o.lastOutcome)
	if len(o.pending) == 0 || idle < idleInterval {
		return
	}
	o.lastOutcome = time.Now()
	waiting := make(map[string]int)
	for _, d := range o.pending {
		waiting[d.target]++
	}
	o.notify(fmt.Sprintf("no delivery has ended for %s: waiting for %s; Temporal retries their runs until the target answers or max_age has passed",
		idle.Round(time.Second), targetsByCount(waiting)))
}
