package replay

import (
	"context"
	"maps"
	"time"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/history"
)

// trackers returns which tracker has each open record of an event, for the memo of
// its run: the one that is read here has those that are sent, and how the last run
// of the event ended says which one has others. It waits for a Temporal that is
// away until ctx ends.
func (r *Replay) trackers(ctx context.Context, in fanout.Input) (map[string]string, error) {
	away := waiter{outage: &r.temporal}
	defer away.answered()
	for ctx.Err() == nil {
		last, err := r.lastRun(ctx, in.Event.ID)
		if err == nil {
			return named(last.Trackers, in, r.plan.selection.Directory.ID()), nil
		}
		away.failed("to say how the last run of an event ended", err)
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

func (r *Replay) lastRun(ctx context.Context, eventID string) (history.Ending, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reader := history.Reader{Client: r.options.Client, DataConverter: fanout.DataConverter()}
	return reader.Ending(ctx, fanout.WorkflowID(eventID), "")
}

// named adds the tracker of the records that are sent to what is known. A tracker
// that no worker of this version has opened yet has no identity: any worker may
// answer.
func named(known map[string]string, in fanout.Input, id string) map[string]string {
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
