// Package history reads from Temporal what runs of FanOut have left there.
//
//   - message.go: the message with which a run was started
//   - previous.go: which run was the previous one
//   - ending.go: how a run ended, and which trackers have its open records
//   - firsttask.go: which process polled a first workflow task that was lost
//   - progress.go: the progress of a pending delivery
//
// The package refuses to change a run, and it caches nothing. It knows the payloads of package
// fanout, and neither workflows nor activities.
package history

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"genesys-fanout/event"
)

// Reader reads runs from Temporal.
type Reader struct {
	Client        client.Client
	Namespace     string
	DataConverter converter.DataConverter // the one that the workflows use
}

// Message returns the message with which a run was started. If the run was started without a
// body, the message has none.
func (r Reader) Message(ctx context.Context, workflowID, runID string) (event.Message, error) {
	message, err := r.readMessage(ctx, workflowID, runID)
	if err != nil {
		return event.Message{}, fmt.Errorf("read the message from the history of run %s: %w", runID, err)
	}
	return message, nil
}

func (r Reader) readMessage(ctx context.Context, workflowID, runID string) (message event.Message, err error) {
	response, err := r.Client.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       r.Namespace,
		Execution:       &common.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
		MaximumPageSize: 1,
	})
	if err != nil {
		return event.Message{}, err
	}
	events := response.GetHistory().GetEvents()
	if len(events) == 0 {
		return event.Message{}, errors.New("it has no events")
	}
	input := events[0].GetWorkflowExecutionStartedEventAttributes().GetInput()
	return message, r.DataConverter.FromPayloads(input, &message)
}
