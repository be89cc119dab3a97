package replay

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// answers is a Temporal that answers starts one after the other, and then nil.
type answers struct {
	client.Client
	list []error

	mu      sync.Mutex
	started []fanout.Input
}

func (a *answers) ExecuteWorkflow(_ context.Context, _ client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	raw, _ := args[0].(converter.RawValue)
	var in fanout.Input
	if err := fanout.DataConverter().FromPayload(raw.Payload(), &in); err != nil {
		return nil, err
	}
	a.started = append(a.started, in)
	if n := len(a.started); n <= len(a.list) && a.list[n-1] != nil {
		return nil, a.list[n-1]
	}
	return started{}, nil
}

// started is a run that has been started.
type started struct {
	client.WorkflowRun
}

func (started) GetID() string    { return "event-evt-1" }
func (started) GetRunID() string { return "new" }

func starter(list ...error) (r *Replay, c *answers, told *[]string) {
	c = &answers{list: list}
	told = &[]string{}
	notify := func(line string) { *told = append(*told, line) }
	return &Replay{
		plan:    &Plan{selection: Selection{Tracker: &deadletter.Tracker{}}},
		options: Options{Client: c, Notify: notify}, temporal: newOutage("Temporal", notify),
	}, c, told
}

func TestAnswersToAStart(t *testing.T) {
	var (
		away    = serviceerror.NewUnavailable("away")
		busy    = serviceerror.NewResourceExhausted(0, "namespace rate limit exceeded")
		open    = serviceerror.NewWorkflowExecutionAlreadyStarted("open", "", "of-another")
		invalid = serviceerror.NewInvalidArgument("Namespace has no mapping defined for search attribute")
		grpc    = serviceerror.NewResourceExhausted(0, "grpc: received message larger than max (5 vs. 4)")
	)
	for name, test := range map[string]struct {
		answers []error
		runID   string // of the run that is waited for
		starts  int
		told    int
	}{
		"at once":                       {[]error{nil}, "new", 1, 0},
		"a run is open":                 {[]error{open}, "", 1, 0},
		"away":                          {[]error{away, busy}, "new", 3, 2},
		"away, and then it is there":    {[]error{away, open}, "of-another", 2, 2},
		"without the search attributes": {[]error{invalid}, "new", 2, 0},
		"it is never taken":             {[]error{invalid, invalid}, "", 2, 0},
		"larger than gRPC takes":        {[]error{grpc}, "", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, c, told := starter(test.answers...)
			run, err := r.start(t.Context(), fanout.Input{Message: event.Message{Event: event.Event{ID: "evt-1"}}, SearchAttributes: true})
			assert.Len(t, c.started, test.starts)
			assert.Len(t, *told, test.told, *told)
			if test.runID == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.runID, run.id)
			assert.Equal(t, "evt-1", run.event())
		})
	}
}

func TestAnInputThatIsTooLargeIsNotSent(t *testing.T) {
	r, c, _ := starter()
	_, err := r.start(t.Context(), fanout.Input{Message: event.Message{Body: event.Body(strings.Repeat("x", 2<<20))}})
	require.ErrorAs(t, err, new(*fanout.ContentError))
	require.ErrorContains(t, err, "the limit is")
	assert.Empty(t, c.started)
}

func TestNoStartOnceItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, c, told := starter(serviceerror.NewUnavailable("away"))
	r.temporal = newOutage("Temporal", func(line string) {
		*told = append(*told, line)
		stop()
	})
	_, err := r.start(ctx, fanout.Input{})
	require.ErrorIs(t, err, context.Canceled)
	assert.Len(t, c.started, 1)
	require.Len(t, *told, 2)
	assert.Equal(t, "stopped waiting for Temporal, after 0s", (*told)[1])
	_, err = r.start(ctx, fanout.Input{})
	require.ErrorIs(t, err, context.Canceled)
	assert.Len(t, c.started, 1)
}
