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
)

const (
	// shortestPause is the pause between two looks at the records, if few are awaited.
	shortestPause = 200 * time.Millisecond

	// pausePerLook makes the looks take at most a twentieth of the time. One at
	// 100,000 records takes 0.3 s, so the next one comes 6 s later.
	pausePerLook = 20
)

// outcome is what became of a delivery whose run is started.
type outcome int

const (
	pending outcome = iota // nothing yet
	delivered
	failedAgain
	lost // nobody knows of a delivery: its run has ended and the record is as it was, or the record was discarded
)

// awaited is a delivery whose run is started and whose outcome is not known yet.
type awaited struct {
	target  string
	file    string             // of its record, a deadletter.FileName
	left    uint64             // hash of the run that left the record
	version deadletter.Version // of the record that this run left; zero until it was seen
	run     *run
}

// outcomes learns what became of the deliveries whose runs are started, by looking
// at their records: a delivery that arrived has no open one, and one that failed
// again has one of another run. It asks Temporal only whether runs have ended without
// either, as one does that an operator terminates.
type outcomes struct {
	tracker *deadletter.Directory
	runs    runs
	hash    func(runID string) uint64
	settle  func(target string, became outcome)
	notify  func(line string)
	away    waiter // for the tracker

	mu      sync.Mutex
	started []awaited // since the last look

	// What follows belongs to follow alone.
	awaited []awaited
	ending  []*run    // whose deliveries all have their outcome, for endFor
	moved   time.Time // when an outcome was learned, or the last line said that none is
}

// deliveries returns what is remembered of the deliveries of a run.
func (o *outcomes) deliveries(e *Event, run *run) []awaited {
	var all []awaited
	for i, target := range e.Targets {
		run.pending++
		all = append(all, awaited{target: target, file: deadletter.FileName(target, e.ID), left: o.hash(e.runs[i]), run: run})
	}
	return all
}

// await adds the deliveries of a run that is started.
func (o *outcomes) await(all []awaited) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started = append(o.started, all...)
}

// follow learns outcomes until all runs are started, as the channel says by being
// closed, none of their deliveries is pending, and the last of them have ended.
func (o *outcomes) follow(ctx context.Context, all <-chan struct{}) {
	o.moved = time.Now()
	complete := false
	for pause := shortestPause; ; {
		select {
		case <-all:
			all, complete = nil, true
		case <-time.After(pause):
		}
		began := time.Now()
		o.look()
		pause = max(shortestPause, pausePerLook*time.Since(began))
		if complete && len(o.awaited) == 0 {
			o.runs.awaitEnds(ctx, o.ending)
			return
		}
		o.runs.ask(ctx, o.awaited)
		o.remind()
	}
}

// look settles the deliveries whose outcome the records show.
func (o *outcomes) look() {
	o.mu.Lock()
	o.awaited = append(o.awaited, o.started...)
	o.started = nil
	o.mu.Unlock()
	var failure error
	rest := o.awaited[:0]
	for _, a := range o.awaited {
		became := pending
		if failure == nil {
			became, failure = o.became(&a)
		}
		if became == pending {
			rest = append(rest, a)
			continue
		}
		o.moved = time.Now()
		o.settle(a.target, became)
		if a.run.pending--; a.run.pending == 0 {
			a.run.settled = o.moved
			o.ending = append(o.ending, a.run)
		}
	}
	o.ending = slices.DeleteFunc(o.ending, func(r *run) bool { return time.Since(r.settled) > endFor })
	clear(o.awaited[len(rest):])
	o.awaited = rest
	if failure != nil {
		o.away.failed("to be read", failure)
	} else {
		o.away.answered()
	}
}

// became returns what became of a delivery. The error is that of the tracker, of
// which nothing is known then.
func (o *outcomes) became(a *awaited) (outcome, error) {
	ended := a.run.ended != ""
	version, found, err := o.tracker.Version(a.file)
	switch {
	case err != nil:
		return pending, err
	case !found:
		return o.closed(a), nil
	case version == a.version && !ended:
		return pending, nil
	}
	record, err := o.tracker.GetFile(a.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return pending, nil // it has moved since, and the next look sees where
	case err != nil && !ended:
		return pending, nil // the run may still replace it
	case err != nil:
		o.notify(fmt.Sprintf("event %s: its run %s, and the record of %s cannot be read: %v", a.run.event(), a.run.ended, a.target, err))
		return lost, nil
	case o.hash(record.RunID) != a.left:
		return failedAgain, nil
	case ended:
		o.notify(fmt.Sprintf("event %s: its run %s, and the record of %s is as it was; look at workflow %s in Temporal, and replay the event again",
			a.run.event(), a.run.ended, a.target, a.run.workflowID))
		return lost, nil
	}
	a.version = version
	return pending, nil
}

// closed returns what became of a delivery whose record is no longer open: it was
// delivered, or a user has discarded the record meanwhile.
func (o *outcomes) closed(a *awaited) outcome {
	record, err := o.tracker.GetDiscarded(a.file)
	switch {
	case err != nil: // there is none, or it is damaged and says nothing
	case o.hash(record.RunID) == a.left:
		o.notify(fmt.Sprintf("event %s: the record of %s was discarded meanwhile; the delivery counts as left", a.run.event(), a.target))
		return lost
	case a.run.id != "" && record.RunID == a.run.id:
		return failedAgain
	}
	return delivered
}

// remind says for whom the replay waits, if it has learned nothing for a while.
func (o *outcomes) remind() {
	still := time.Since(o.moved)
	if len(o.awaited) == 0 || still < remindInterval {
		return
	}
	o.moved = time.Now()
	waiting := make(map[string]int)
	for _, a := range o.awaited {
		waiting[a.target]++
	}
	o.notify(fmt.Sprintf("no delivery has ended for %s: waiting for %s; the runs go on in Temporal until their target answers or max_age has passed",
		still.Round(time.Second), ranked(waiting)))
}
