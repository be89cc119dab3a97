package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"genesys-fanout/workflows"
)

const (
	// startLimit is the largest input that is sent to Temporal, in bytes: its
	// own limit for one payload is 2 MiB, less room for what stands around it.
	startLimit = 19 << 20 / 10

	// startTimeout is for one start; the SDK repeats what may pass within it.
	startTimeout = 10 * time.Second
)

// Temporal starts runs on a Temporal server.
type Temporal struct {
	Client        client.Client
	DataConverter converter.DataConverter // the client's
	TaskQueue     string

	// RecallQueue, where it is set, is this process's own: runs are started
	// eagerly, which takes a worker of TaskQueue on the same Client, and one of
	// RecallQueue.
	RecallQueue string
}

// Start implements Starter.
func (t Temporal) Start(ctx context.Context, in workflows.Input) (bool, error) {
	payload, err := t.DataConverter.ToPayload(in)
	if err != nil {
		return false, &ContentError{Err: fmt.Errorf("encode the run's input: %w", err)}
	}
	if size := len(payload.GetData()); size > startLimit {
		return false, &ContentError{Err: fmt.Errorf("the run's input takes %d bytes, the limit is %d", size, startLimit), Size: true}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	options := workflows.StartOptions(in, t.TaskQueue, t.RecallQueue)
	_, err = t.Client.ExecuteWorkflow(ctx, options, workflows.FanOutName, converter.NewRawValue(payload))
	var duplicate *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &duplicate):
		return false, nil
	case refusedForContent(err):
		return false, &ContentError{Err: err, Size: overMessageSize(err)}
	}
	return false, err
}

// refusedForContent is true where the same start would be refused for ever.
func refusedForContent(err error) bool {
	var invalid *serviceerror.InvalidArgument
	return errors.As(err, &invalid) || overMessageSize(err)
}

// overMessageSize is true for gRPC's own limit on a message. It shares its code
// with a busy server. Temporal's server names what is exhausted and gRPC does
// not, but neither may a proxy between; taking its "busy" for this would cost
// the payload, so here the text must tell, the only thing that does.
func overMessageSize(err error) bool {
	var exhausted *serviceerror.ResourceExhausted
	return errors.As(err, &exhausted) &&
		exhausted.Cause == enums.RESOURCE_EXHAUSTED_CAUSE_UNSPECIFIED &&
		strings.Contains(exhausted.Message, "larger than max")
}
