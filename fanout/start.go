package fanout

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
)

const (
	// startLimit is the largest input that is sent to Temporal, in bytes. Temporal's
	// own limit for one payload is 2 MiB; the rest is room for what is sent beside it.
	startLimit = 19 << 20 / 10

	// startTimeout bounds one start. The SDK repeats retryable failures within it.
	startTimeout = 10 * time.Second
)

// ContentError says that Temporal refuses an input for its content: the same
// start would be refused again.
type ContentError struct {
	Err error
	// TooLarge is true if the input is too large, whatever it holds.
	TooLarge bool
}

// Error is what is wrong with the input.
func (e *ContentError) Error() string {
	return "Temporal refuses the run's input: " + e.Err.Error()
}

// Unwrap returns Temporal's answer, if Temporal was asked.
func (e *ContentError) Unwrap() error { return e.Err }

// Start starts FanOut with StartOptions or ReplayOptions, on a client with this
// package's DataConverter. in holds the event's own words; an input without its
// message travels with each of them bounded. The errors are *ContentError,
// *serviceerror.WorkflowExecutionAlreadyStarted, and others, which are retryable.
func Start(ctx context.Context, c client.Client, options client.StartWorkflowOptions, in Input) (client.WorkflowRun, error) {
	if in.WordsCut() {
		in.Event = in.Event.Cut()
	}
	payload, err := DataConverter().ToPayload(in)
	if err != nil {
		return nil, &ContentError{Err: err}
	}
	if size := len(payload.GetData()); size > startLimit {
		return nil, &ContentError{Err: fmt.Errorf("the run's input takes %d bytes, and the limit is %d", size, startLimit), TooLarge: true}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	run, err := c.ExecuteWorkflow(ctx, options, WorkflowName, converter.NewRawValue(payload))
	if refusedForContent(err) {
		return nil, &ContentError{Err: err, TooLarge: overMessageSize(err)}
	}
	return run, err
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
