package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/singleflight"

	"genesys-fanout/event"
)

// Messages reads the message of a run that no activity's input carries because
// it is large: Temporal holds it once, in the first event of the run's history.
type Messages interface {
	Message(ctx context.Context, workflowID, runID string) (event.Body, error)
}

// History reads messages from Temporal.
type History struct {
	Client        client.Client
	Namespace     string
	DataConverter converter.DataConverter
}

// errNoMessage says that a run was started without a message.
var errNoMessage = errors.New("the run's input holds no message")

// Message implements Messages.
func (h History) Message(ctx context.Context, workflowID, runID string) (event.Body, error) {
	answer, err := h.Client.WorkflowService().GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       h.Namespace,
		Execution:       &common.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
		MaximumPageSize: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("read the message from the history of run %s: %w", runID, err)
	}
	events := answer.GetHistory().GetEvents()
	if len(events) == 0 {
		return nil, fmt.Errorf("read the message from the history of run %s: it has no events", runID)
	}
	var input struct {
		Body event.Body `json:"body"`
	}
	payloads := events[0].GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := h.DataConverter.FromPayloads(payloads, &input); err != nil {
		return nil, fmt.Errorf("read the message from the history of run %s: %w", runID, err)
	}
	if len(input.Body) == 0 {
		return nil, fmt.Errorf("run %s: %w", runID, errNoMessage)
	}
	return input.Body, nil
}

// cachedMessages × 1 MiB, the largest message, is what the cache may take.
const cachedMessages = 16

// messageCache keeps the messages last read, since all targets that fail ask for
// the same one at about the same time.
type messageCache struct {
	source Messages
	flight singleflight.Group
	kept   *expirable.LRU[string, event.Body]
}

func newMessageCache(source Messages) *messageCache {
	return &messageCache{source: source, kept: expirable.NewLRU[string, event.Body](cachedMessages, nil, 0)}
}

// message is inline where the input carried it, and otherwise the message of the run.
func (c *messageCache) message(ctx context.Context, inline event.Body, workflowID, runID string) (event.Body, error) {
	if len(inline) > 0 {
		return inline, nil
	}
	if body, ok := c.kept.Get(runID); ok {
		return body, nil
	}
	body, err, _ := c.flight.Do(runID, func() (any, error) {
		body, err := c.source.Message(ctx, workflowID, runID)
		if err == nil {
			c.kept.Add(runID, body)
		}
		return body, err
	})
	if err != nil {
		return nil, err
	}
	return body.(event.Body), nil
}
