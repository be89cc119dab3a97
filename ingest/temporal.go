package ingest

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"genesys-fanout/workflows"
)

// Temporal starts runs on a Temporal server.
type Temporal struct {
	Client    client.Client // with the workflows' DataConverter
	TaskQueue string

	// RecallQueue, where it is set, is this process's own: runs are started
	// eagerly, which takes a worker of TaskQueue on the same Client, and one of
	// RecallQueue.
	RecallQueue string
}

// Start implements Starter.
func (t Temporal) Start(ctx context.Context, in workflows.Input) (bool, error) {
	_, err := workflows.Start(ctx, t.Client, workflows.StartOptions(in, t.TaskQueue, t.RecallQueue), in)
	var duplicate *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &duplicate) {
		return false, nil
	}
	return err == nil, err
}
