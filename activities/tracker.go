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

// Tracker stores dead letters. When Record or Resolve has returned nil, its change is durable.
// If the same run calls it again, nothing changes.
type Tracker interface {
	fmt.Stringer // the tracker's path and identity, for messages; it has no secret

	// ID returns the identity of the tracker. No other tracker has the same identity, and it
	// never changes.
	ID() string
	// HasRecordsOf reports whether this tracker has the records of the tracker with this
	// identity.
	HasRecordsOf(ctx context.Context, id string) (bool, error)

	Record(ctx context.Context, record deadletter.Record) error
	Resolve(ctx context.Context, target, eventID, runID string, at time.Time) error
	OpenTargets(ctx context.Context, eventID string, named ...string) ([]string, error)

	// Check returns an error unless the tracker is there and can be written.
	Check(ctx context.Context) error
	// Count counts the open records by target and reason.
	Count(ctx context.Context) ([]deadletter.Count, error)
}

// checkRecordLocation fails with FailureOtherTracker if an earlier run left a record of the
// delivery in another tracker than that of this worker.
func (a *Activities) checkRecordLocation(ctx context.Context, target string, location fanout.RecordLocation) error {
	if location.Unknown {
		run := runOf(ctx)
		previous, err := a.runs.PreviousEnding(ctx, run.ID, run.RunID)
		if err != nil {
			return err
		}
		location.Tracker = previous.Trackers[target]
	}
	if location.Tracker == "" {
		return nil
	}
	here, err := a.tracker.HasRecordsOf(ctx, location.Tracker)
	if err != nil || here {
		return err
	}
	return a.otherTrackerFailure(ctx, map[string]string{target: location.Tracker})
}

// otherTrackerFailure returns the failure of a task that needs other trackers than this worker
// has. needed maps each target to the identity of its tracker. Temporal returns the task to its
// queue, for another worker. The process reports not ready for 5 min, so that an operator notices
// that workers have different trackers.
func (a *Activities) otherTrackerFailure(ctx context.Context, needed map[string]string) error {
	var parts []string
	for _, target := range slices.Sorted(maps.Keys(needed)) {
		parts = append(parts, fmt.Sprintf("that of %s in tracker %s", target, needed[target]))
	}
	err := temporal.NewApplicationErrorWithOptions(fmt.Sprintf("the dead letter is in another tracker: %s; this worker has tracker %s. "+
		"Start a worker with that tracker, or give all workers one FANOUT_DEAD_LETTERS; docs/dead-letters.md says what to do if that tracker is lost",
		strings.Join(parts, ", "), a.tracker), fanout.FailureOtherTracker,
		temporal.ApplicationErrorOptions{NextRetryDelay: otherTrackerDelay(activity.GetInfo(ctx).Attempt)})
	a.monitor.reportOtherTracker(err)
	return err
}

// If workers have two trackers, a worker with the other tracker polls every second attempt of a
// task. One task in a thousand is polled by such a worker ten times in a row, and then waits
// longer.
const (
	quickAttempts            = 10
	longestOtherTrackerDelay = time.Minute
)

// otherTrackerDelay returns the wait before the next attempt if a worker with another tracker
// polled the task: 1 to 2 s, and up to a minute after many attempts. It is random, because workers
// poll in turn: if Temporal dispatched tasks again at the same moment each time, the same worker
// would poll them each time. The wait is never shorter than 1 s, because Temporal rounds shorter
// waits up to about a second.
func otherTrackerDelay(attempt int32) time.Duration {
	delay := time.Second
	for n := int32(quickAttempts); n < attempt && delay < longestOtherTrackerDelay/2; n++ {
		delay *= 2
	}
	delay = min(delay, longestOtherTrackerDelay/2)
	return delay + rand.N(delay)
}
