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
	// startLimit is the largest input that Start sends to Temporal, in bytes. Temporal's
	// own limit for one payload is 2 MiB; the rest is room for what is sent beside it.
	startLimit = 19 << 20 / 10

	// startTimeout bounds one start. The SDK repeats retryable failures within it.
	startTimeout = 10 * time.Second
)

// ContentError is the error of Start if Temporal rejects an input because of its content.
// Temporal would reject the same start again, so it is not retryable.
type ContentError struct {
	Err error
	// TooLarge is true if the input was rejected because of its size alone.
	TooLarge bool
}

// Error says what is wrong with the input.
func (e *ContentError) Error() string {
	return "Temporal rejects the run's input: " + e.Err.Error()
}

// Unwrap returns Temporal's answer, if Temporal was asked.
func (e *ContentError) Unwrap() error { return e.Err }

// Start starts FanOut with StartOptions or ReplayOptions. The client must use this package's
// DataConverter. The strings of the event in the input must not be cut: Start cuts them if the
// input has no message body (see Input.StringsCut). The errors are *ContentError,
// *serviceerror.WorkflowExecutionAlreadyStarted, and others, which are retryable.
func Start(ctx context.Context, c client.Client, options client.StartWorkflowOptions, in Input) (client.WorkflowRun, error) {
	if in.StringsCut() {
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
	if rejectedForContent(err) {
		return nil, &ContentError{Err: err, TooLarge: overMessageSize(err)}
	}
	return run, err
}

// rejectedForContent reports whether Temporal would reject the same start every time.
func rejectedForContent(err error) bool {
	var invalid *serviceerror.InvalidArgument
	return errors.As(err, &invalid) || overMessageSize(err)
}

// overMessageSize reports whether a message exceeded gRPC's own size limit. gRPC returns the
// same code for that as a busy server. Temporal's server also names what is exhausted, and
// gRPC does not, but a proxy between the two may not name it either. If a proxy's "busy" were
// mistaken for this limit, the payload would be lost. Therefore the text of the error
// decides, because nothing else distinguishes the two.
func overMessageSize(err error) bool {
	var exhausted *serviceerror.ResourceExhausted
	return errors.As(err, &exhausted) &&
		exhausted.Cause == enums.RESOURCE_EXHAUSTED_CAUSE_UNSPECIFIED &&
		strings.Contains(exhausted.Message, "larger than max")
}
