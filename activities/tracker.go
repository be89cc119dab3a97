package activities

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
)

// Tracker keeps dead letters. What Record and Resolve did is durable when they
// return nil; doing it again for the same run changes nothing.
type Tracker interface {
	fmt.Stringer // its place and its identity, for people; never a secret

	// ID is the identity of the tracker: no two have the same one, and it lasts as
	// long as the tracker does.
	ID() string
	// HasRecordsOf reports whether the records of the tracker id are in this one.
	HasRecordsOf(ctx context.Context, id string) (bool, error)

	Record(ctx context.Context, record deadletter.Record) error
	Resolve(ctx context.Context, target, eventID, runID string, at time.Time) error
	OpenTargets(ctx context.Context, eventID string, named ...string) ([]string, error)

	// Check reports whether the tracker is there and can be written.
	Check(ctx context.Context) error
	// Count counts the open records by target and reason.
	Count(ctx context.Context) ([]deadletter.Count, error)
}

// checkHolder fails with OtherTracker unless this worker's tracker has the record
// that an earlier run left of a delivery.
func (a *Activities) checkHolder(ctx context.Context, target string, h fanout.RecordLocation) error {
	if h.Unknown {
		run := activity.GetInfo(ctx).WorkflowExecution
		before, err := a.runs.PreviousEnding(ctx, run.ID, run.RunID)
		if err != nil {
			return err
		}
		h.Tracker = before.Trackers[target]
	}
	if h.Tracker == "" {
		return nil
	}
	held, err := a.tracker.HasRecordsOf(ctx, h.Tracker)
	if err != nil || held {
		return err
	}
	return a.otherTracker(ctx, map[string]string{target: h.Tracker})
}

// otherTracker is the failure of a task that needs the trackers of some targets,
// none of which this worker has. The task goes back to its queue for another
// worker, and this process is not ready for a while, because the same happens
// to about every second task while two workers have trackers of their own.
func (a *Activities) otherTracker(ctx context.Context, needed map[string]string) error {
	var parts []string
	for _, target := range slices.Sorted(maps.Keys(needed)) {
		parts = append(parts, fmt.Sprintf("that of %s in tracker %s", target, needed[target]))
	}
	err := temporal.NewApplicationErrorWithOptions(fmt.Sprintf("the dead letter is in another tracker: %s; this worker has tracker %s. "+
		"Start a worker with that tracker, or give all workers one FANOUT_DEAD_LETTERS; docs/dead-letters.md says what to do if that tracker is lost",
		strings.Join(parts, ", "), a.tracker), fanout.OtherTracker,
		temporal.ApplicationErrorOptions{NextRetryDelay: otherTrackerDelay(activity.GetInfo(ctx).Attempt)})
	a.watch.askedForOther(err)
	return err
}

// With two trackers every second attempt meets the wrong worker: ten quick attempts
// leave one task in a thousand that waits longer.
const (
	quickAttempts    = 10
	otherTrackerMost = time.Minute
)

// otherTrackerDelay returns the wait before the next attempt of a task that met the
// wrong worker: 1 to 2 s, and up to a minute after many attempts. It is random, because
// workers poll in turn: tasks that come back in step would meet the same worker each
// time. It is no shorter, because Temporal makes about a second of anything below one.
func otherTrackerDelay(attempt int32) time.Duration {
	delay := time.Second
	for n := int32(quickAttempts); n < attempt && delay < otherTrackerMost/2; n++ {
		delay *= 2
	}
	delay = min(delay, otherTrackerMost/2)
	return delay + rand.N(delay)
}
