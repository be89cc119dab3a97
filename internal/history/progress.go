package history

import (
	"context"
	"fmt"

	"genesys-fanout/fanout"
)

// PendingProgress returns the progress of a pending activity. It returns false if no such
// activity is pending, or if the activity has not recorded any progress yet.
func (r Reader) PendingProgress(ctx context.Context, workflowID, runID, activityID string) (fanout.Progress, bool, error) {
	run, err := r.Client.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return fanout.Progress{}, false, fmt.Errorf("describe run %s: %w", runID, err)
	}
	for _, pending := range run.GetPendingActivities() {
		if pending.GetActivityId() != activityID || pending.GetHeartbeatDetails() == nil {
			continue
		}
		var progress fanout.Progress
		if err := r.DataConverter.FromPayloads(pending.GetHeartbeatDetails(), &progress); err != nil {
			return fanout.Progress{}, false, fmt.Errorf("read the progress of %s: %w", activityID, err)
		}
		return progress, true, nil
	}
	return fanout.Progress{}, false, nil
}
