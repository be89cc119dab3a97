package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// TemporalStarter starts runs on a Temporal server. It implements Starter.
type TemporalStarter struct {
	Client    client.Client // with the workflows' DataConverter
	TaskQueue string

	// Eager starts runs eagerly, which needs a worker of TaskQueue on the same Client.
	Eager bool
}

// Start implements Starter. If the event has a run already, it returns (false, nil): the message
// is a duplicate and counts as accepted.
func (t TemporalStarter) Start(ctx context.Context, input fanout.Input) (bool, error) {
	for repeated := false; ; repeated = true {
		_, err := fanout.Start(ctx, t.Client, fanout.StartOptions(input, t.TaskQueue, t.Eager), input)
		var exists *serviceerror.WorkflowExecutionAlreadyStarted
		if !errors.As(err, &exists) {
			return err == nil, err
		}
		err = t.compare(ctx, input.Event, exists.RunId)
		var notFound *serviceerror.NotFound
		if repeated || !errors.As(err, &notFound) {
			return false, err
		}
		// The namespace's retention deleted the run between the two answers.
	}
}

// compareTimeout bounds the requests that find out which event a run has. The SDK retries
// retryable errors within it.
const compareTimeout = 10 * time.Second

// compare returns nil if the run that has an event's ID is the event's own, so that the
// message is a duplicate. A *ConflictError means that it is the run of another event.
func (t TemporalStarter) compare(ctx context.Context, e event.Event, runID string) error {
	if e.IdentifiedByContent() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	id := fanout.WorkflowID(e.ID)
	run, err := t.Client.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return fmt.Errorf("describe run %s of workflow %s, which has the id of the event: %w", runID, id, err)
	}
	hash := memoHash(run.GetWorkflowExecutionInfo().GetMemo())
	if hash == e.Hash() {
		return nil
	}
	other, err := t.eventOf(ctx, id, runID)
	if err != nil {
		return fmt.Errorf("read the input of run %s of workflow %s, which has the id of the event: %w", runID, id, err)
	}
	// In the input of a run that was started by hand, the strings of the event may be cut.
	if hash == "" && (other.Hash() == e.Hash() || other.Hash() == e.Cut().Hash()) {
		return nil
	}
	return &ConflictError{WorkflowID: id, RunID: runID, Event: e, Other: other}
}

// memoHash returns the hash of the event that ingest or replay stored in the memo of the run.
// It is empty for a run that was started by hand.
func memoHash(memo *common.Memo) string {
	var hash string
	if payload, ok := memo.GetFields()[fanout.MemoEventHash]; ok {
		_ = fanout.DataConverter().FromPayload(payload, &hash) // an unreadable hash is treated as missing
	}
	return hash
}

// eventOf reads the event of a run from its input. If the input contains no event, as that of
// a workflow that is not ours, it returns the zero Event.
func (t TemporalStarter) eventOf(ctx context.Context, workflowID, runID string) (event.Event, error) {
	history := t.Client.GetWorkflowHistory(ctx, workflowID, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !history.HasNext() { // does not happen, because every history has a first event
		return event.Event{}, nil
	}
	first, err := history.Next()
	if err != nil {
		return event.Event{}, err
	}
	var input fanout.Input
	if fanout.DataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &input) != nil {
		return event.Event{}, nil
	}
	return input.Event, nil
}

// ConflictError means that the id of an event belongs to another event, because the run with
// that id is the run of the other event.
type ConflictError struct {
	WorkflowID, RunID string
	Event             event.Event // the event that was to be started
	Other             event.Event // the event of the run
}

// Error names the run, both events and the cure. Its length is bounded.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("the event id %s belongs to another event: run %s of workflow %s has %s, and this message has %s; %s",
		event.Escape(e.Event.ID), e.RunID, e.WorkflowID, describeEvent(e.Other), describeEvent(e.Event), event.ConflictCure)
}

// describeEvent returns the type and the interaction of an event.
func describeEvent(e event.Event) string {
	switch {
	case e.Type == "":
		return "an input that contains no event"
	case e.InteractionID == "":
		return "type " + event.EscapeCut(e.Type) + " and no interaction"
	}
	return "type " + event.EscapeCut(e.Type) + " and interaction " + event.EscapeCut(e.InteractionID)
}
