package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"

	"genesys-fanout/fanout"
)

// Ending says how a run ended, for the run after it.
type Ending struct {
	Settled bool // true if the run delivered or recorded each delivery

	// Trackers holds, by target, the identities of the trackers that have the open records
	// of the run, as far as its history shows.
	Trackers map[string]string
}

// Ending returns how a run ended. An empty runID is the current run of the workflow ID. The
// zero value is returned for a run that Temporal does not know.
func (r Reader) Ending(ctx context.Context, workflowID, runID string) (Ending, error) {
	before, err := r.ended(ctx, workflowID, runID)
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return Ending{}, nil
	}
	if err != nil {
		return Ending{}, fmt.Errorf("look at the run before, %s: %w", runID, err)
	}
	return before, nil
}

func (r Reader) ended(ctx context.Context, workflowID, runID string) (Ending, error) {
	events := r.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return Ending{}, err
		}
		if before, err := r.settled(e); err != nil || before.Settled {
			return before, err
		}
	}
	trackers, err := r.recorded(ctx, workflowID, runID)
	return Ending{Trackers: trackers}, err
}

// settled reads the last event of a run.
func (r Reader) settled(e *historypb.HistoryEvent) (Ending, error) {
	var details *common.Payloads
	switch e.GetEventType() {
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		details = e.GetWorkflowExecutionCanceledEventAttributes().GetDetails()
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		failure := e.GetWorkflowExecutionFailedEventAttributes().GetFailure().GetApplicationFailureInfo()
		if failure.GetType() != fanout.DeadLettered {
			return Ending{}, nil
		}
		details = failure.GetDetails()
	default:
		return Ending{}, nil
	}
	var left fanout.DeadLetteredDetails
	err := r.DataConverter.FromPayloads(details, &left) // without details it leaves left as it is
	return Ending{Settled: true, Trackers: left.Trackers}, err
}

// recorded reads from the history of a run that settled nothing which tracker has
// which record: the memo, what Outstanding found, what was recorded, and what was
// resolved. A run that was reset may have ended before it asked, so what it began
// with is what its base run left.
func (r Reader) recorded(ctx context.Context, workflowID, runID string) (map[string]string, error) {
	trackers := make(map[string]string)
	scheduled := make(map[int64]*historypb.ActivityTaskScheduledEventAttributes)
	base, err := r.resetFrom(ctx, workflowID, runID)
	if err != nil {
		return nil, err
	}
	events := r.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return nil, err
		}
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			if memo, ok := e.GetWorkflowExecutionStartedEventAttributes().GetMemo().GetFields()[fanout.MemoTrackers]; ok {
				err = r.DataConverter.FromPayload(memo, &trackers)
			}
		case enums.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			if base != "" && e.GetWorkflowTaskFailedEventAttributes().GetBaseRunId() == base {
				trackers, err = r.leftBy(ctx, workflowID, base, trackers)
			}
		case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			scheduled[e.GetEventId()] = e.GetActivityTaskScheduledEventAttributes()
		case enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			completed := e.GetActivityTaskCompletedEventAttributes()
			err = r.note(trackers, scheduled[completed.GetScheduledEventId()].GetActivityId(), completed.GetResult())
		}
		if err != nil {
			return nil, fmt.Errorf("read event %d: %w", e.GetEventId(), err)
		}
	}
	return trackers, nil
}

// leftBy returns which tracker has which record that the base run of a reset left.
// If Temporal does not know that run any more, that is what the history of the reset
// run has of it.
func (r Reader) leftBy(ctx context.Context, workflowID, base string, known map[string]string) (map[string]string, error) {
	before, err := r.ended(ctx, workflowID, base)
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return known, nil
	}
	trackers := make(map[string]string)
	maps.Copy(trackers, before.Trackers)
	return trackers, err
}

// note takes what one activity of a run found or did into trackers.
func (r Reader) note(trackers map[string]string, activityID string, result *common.Payloads) error {
	if target, ok := fanout.ResolvedTarget(activityID); ok {
		var resolved fanout.ResolveDeadLetterResult
		err := r.DataConverter.FromPayloads(result, &resolved)
		if resolved.Damaged == "" {
			delete(trackers, target)
		}
		return err
	}
	if target, ok := fanout.RecordedTarget(activityID); ok {
		var recorded fanout.RecordDeadLetterResult
		err := r.DataConverter.FromPayloads(result, &recorded)
		if recorded.Tracker != "" {
			trackers[target] = recorded.Tracker
		}
		return err
	}
	if !strings.HasPrefix(activityID, fanout.OutstandingActivityID) {
		return nil
	}
	var open fanout.OutstandingResult
	err := r.DataConverter.FromPayloads(result, &open)
	for _, target := range open.Targets {
		if open.Tracker != "" {
			trackers[target] = open.Tracker
		}
	}
	maps.Copy(trackers, open.Elsewhere)
	return err
}
