// Package history reads from Temporal what runs of FanOut have left there: the message of a run, how a
// run ended and which trackers have its open records, the run before a run, and the progress
// of a delivery that has not ended.
//
// The package refuses to change a run, and it caches nothing. It knows the payloads of package
// fanout, and neither workflows nor activities.
package history

import (
	"context"
	"fmt"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"genesys-fanout/event"
)

// Reader reads what Temporal has of runs.
type Reader struct {
	Client        client.Client
	Namespace     string
	DataConverter converter.DataConverter // the workflows' own
}

// Message returns the message with which a run was started. If the run was started without a
// body, the message has none.
func (r Reader) Message(ctx context.Context, workflowID, runID string) (event.Message, error) {
	answer, err := r.Client.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       r.Namespace,
		Execution:       &common.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
		MaximumPageSize: 1,
	})
	if err != nil {
		return event.Message{}, fmt.Errorf("read the message from the history of run %s: %w", runID, err)
	}
	events := answer.GetHistory().GetEvents()
	if len(events) == 0 {
		return event.Message{}, fmt.Errorf("read the message from the history of run %s: it has no events", runID)
	}
	var message event.Message
	payloads := events[0].GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := r.DataConverter.FromPayloads(payloads, &message); err != nil {
		return event.Message{}, fmt.Errorf("read the message from the history of run %s: %w", runID, err)
	}
	return message, nil
}
