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

// Ending is how a run ended. It has only what the next run of the event needs.
type Ending struct {
	Settled bool // true if the run settled each delivery: it delivered or recorded each of them

	// Trackers maps each target for which the run left an open record to the identity of the
	// tracker with that record. It may lack a target if the run did not settle each delivery.
	Trackers map[string]string
}

// Ending returns how a run ended. If runID is empty, it means the current run of the workflow ID.
// If Temporal does not know the run, Ending returns the zero value.
func (r Reader) Ending(ctx context.Context, workflowID, runID string) (Ending, error) {
	ending, err := r.readEnding(ctx, workflowID, runID)
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return Ending{}, nil
	}
	if err != nil {
		return Ending{}, fmt.Errorf("read how run %q of %s ended: %w", runID, workflowID, err)
	}
	return ending, nil
}

// readEnding fails with serviceerror.NotFound if Temporal does not know the run.
func (r Reader) readEnding(ctx context.Context, workflowID, runID string) (Ending, error) {
	events := r.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return Ending{}, err
		}
		if ending, err := r.closeEventEnding(e); err != nil || ending.Settled {
			return ending, err
		}
	}
	trackers, err := r.openRecords(ctx, workflowID, runID)
	return Ending{Trackers: trackers}, err
}

// closeEventEnding reads the ending from the last event of a run. If the run settled each
// delivery, this event contains the whole ending. Otherwise closeEventEnding returns the zero value.
func (r Reader) closeEventEnding(e *historypb.HistoryEvent) (Ending, error) {
	var details *common.Payloads
	switch e.GetEventType() {
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		details = e.GetWorkflowExecutionCanceledEventAttributes().GetDetails()
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		failure := e.GetWorkflowExecutionFailedEventAttributes().GetFailure().GetApplicationFailureInfo()
		if failure.GetType() != fanout.FailureDeadLettered {
			return Ending{}, nil
		}
		details = failure.GetDetails()
	default:
		return Ending{}, nil
	}
	var deadLettered fanout.DeadLetteredDetails
	err := r.DataConverter.FromPayloads(details, &deadLettered) // no details mean no open records
	return Ending{Settled: true, Trackers: deadLettered.Trackers}, err
}

// openRecords returns which trackers have the open records of a run that did not settle each
// delivery. It reads the whole history of the run: the memo, the results of Outstanding, and the
// records that the run wrote and resolved. If the run was created by a reset, it may have ended
// before it called Outstanding. So it begins with the open records that its base run left.
func (r Reader) openRecords(ctx context.Context, workflowID, runID string) (map[string]string, error) {
	trackers := make(map[string]string)
	activityIDs := make(map[int64]string) // by the id of the event that scheduled the activity
	base, err := r.baseRun(ctx, workflowID, runID)
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
				trackers, err = r.openRecordsOfBase(ctx, workflowID, base, trackers)
			}
		case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			activityIDs[e.GetEventId()] = e.GetActivityTaskScheduledEventAttributes().GetActivityId()
		case enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			completed := e.GetActivityTaskCompletedEventAttributes()
			err = r.applyResult(trackers, activityIDs[completed.GetScheduledEventId()], completed.GetResult())
		}
		if err != nil {
			return nil, fmt.Errorf("read event %d: %w", e.GetEventId(), err)
		}
	}
	return trackers, nil
}

// openRecordsOfBase returns which trackers have the open records that the base run of a reset
// left. If Temporal does not know that run any more, it returns copied: the open records according
// to the events that the reset copied from the base run.
func (r Reader) openRecordsOfBase(ctx context.Context, workflowID, base string, copied map[string]string) (map[string]string, error) {
	ending, err := r.readEnding(ctx, workflowID, base)
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return copied, nil
	}
	trackers := make(map[string]string)
	maps.Copy(trackers, ending.Trackers)
	return trackers, err
}

// applyResult updates trackers by the result of one activity.
func (r Reader) applyResult(trackers map[string]string, activityID string, result *common.Payloads) error {
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
	var outstanding fanout.OutstandingResult
	err := r.DataConverter.FromPayloads(result, &outstanding)
	for _, target := range outstanding.Targets {
		if outstanding.Tracker != "" {
			trackers[target] = outstanding.Tracker
		}
	}
	maps.Copy(trackers, outstanding.Elsewhere)
	return err
}
