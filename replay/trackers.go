package replay

import (
	"context"
	"fmt"
	"maps"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/history"
)

// trackers returns the identity of the tracker that has each open record of an event, by
// target, for the memo of its run. The records that are sent are in the tracker that this
// replay reads. The last run of the event says which tracker has others. While Temporal
// does not answer, trackers waits until ctx ends.
func (r *Replay) trackers(ctx context.Context, in fanout.Input) (trackers map[string]string, err error) {
	err = r.untilAnswered(ctx, func(bool) (answered bool, err error) {
		last, err := r.lastRun(ctx, in.Event.ID)
		if err != nil {
			return false, fmt.Errorf("read how the last run of an event ended: %w", err)
		}
		trackers = withTracker(last.Trackers, in, r.plan.selection.Tracker.ID())
		return true, nil
	})
	return trackers, err
}

func (r *Replay) lastRun(ctx context.Context, eventID string) (history.Ending, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	reader := history.Reader{Client: r.options.Client, DataConverter: fanout.DataConverter()}
	return reader.Ending(ctx, fanout.WorkflowID(eventID), "")
}

// withTracker returns a copy of known in which every target of the input has the tracker id. If
// id is empty, because the tracker is an old one without an identity, it returns known, and any
// worker may execute the activity.
func withTracker(known map[string]string, in fanout.Input, id string) map[string]string {
	if id == "" {
		return known
	}
	trackers := make(map[string]string)
	maps.Copy(trackers, known)
	for _, policy := range in.Targets {
		trackers[policy.Target] = id
	}
	return trackers
}
