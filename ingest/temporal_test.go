package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/target"
)

// startTemporal starts a server without workers.
func startTemporal(t *testing.T) TemporalStarter {
	t.Helper()
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: server.Address(), Namespace: devstack.Namespace, DataConverter: fanout.DataConverter(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return TemporalStarter{Client: c, TaskQueue: "temporal-test"}
}

// inputOf returns the input of an event.
func inputOf(t *testing.T, message string) fanout.Input {
	t.Helper()
	e, err := event.Decode([]byte(message))
	require.NoError(t, err)
	return fanout.Input{Message: event.Message{Event: e, Body: event.Body(message)}, Targets: []target.Policy{{Target: "a"}}}
}

// byHand starts a run without a memo, as Temporal UI does.
func (s TemporalStarter) byHand(t *testing.T, id string, input any) {
	t.Helper()
	_, err := s.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: s.TaskQueue}, fanout.WorkflowName, input)
	require.NoError(t, err)
}

func conversationEvent(id, kind, interaction string) string {
	return `{"event_id":"` + id + `","event_type":"` + kind + `","interaction":{"id":"` + interaction + `"}}`
}

func TestTemporalStarter_OnlyTheRunOfTheSameEventIsADuplicate(t *testing.T) {
	t.Parallel()
	server := startTemporal(t)
	ctx := t.Context()
	long := strings.Repeat("\u2028", 400)
	oversize := func(input fanout.Input) fanout.Input {
		return withoutMessage(input, errors.New("too large"))
	}
	for name, before := range map[string]func(t *testing.T, input fanout.Input){
		"started by ingest": func(t *testing.T, input fanout.Input) {
			started, err := server.Start(ctx, input)
			require.NoError(t, err)
			require.True(t, started)
		},
		"ended since": func(t *testing.T, input fanout.Input) {
			_, err := server.Start(ctx, input)
			require.NoError(t, err)
			require.NoError(t, server.Client.TerminateWorkflow(ctx, fanout.WorkflowID(input.Event.ID), "", t.Name()))
		},
		"without its message": func(t *testing.T, input fanout.Input) {
			started, err := server.Start(ctx, oversize(input))
			require.NoError(t, err)
			require.True(t, started)
		},
		"started by replay": func(t *testing.T, input fanout.Input) {
			_, err := fanout.Start(ctx, server.Client, fanout.ReplayOptions(input, server.TaskQueue, nil), input)
			require.NoError(t, err)
		},
		"started by hand": func(t *testing.T, input fanout.Input) { server.byHand(t, fanout.WorkflowID(input.Event.ID), input) },
		"started by hand without its message": func(t *testing.T, input fanout.Input) {
			input = oversize(input)
			input.Event = input.Event.Cut()
			server.byHand(t, fanout.WorkflowID(inputOf(t, conversationEvent(t.Name()+long, "began"+long, long)).Event.ID), input)
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := t.Name() + long
			input := inputOf(t, conversationEvent(id, "began"+long, long))
			before(t, input)
			for _, again := range []fanout.Input{input, oversize(input)} {
				started, err := server.Start(ctx, again)
				require.NoError(t, err)
				assert.False(t, started, "a duplicate")
			}
			for _, other := range []string{conversationEvent(id, "ended"+long, long), conversationEvent(id, "began"+long, long+"b"), conversationEvent(id, "began"+long+long, "")} {
				_, err := server.Start(ctx, inputOf(t, other))
				var conflict *ConflictError
				require.ErrorAs(t, err, &conflict)
				assert.Equal(t, fanout.WorkflowID(id), conflict.WorkflowID)
				assert.NoError(t, uuid.Validate(conflict.RunID))
				for _, part := range []string{conflict.WorkflowID, conflict.RunID, event.Escape("began" + long), event.Escape(conflict.Event.Type)} {
					assert.ErrorContains(t, err, part)
				}
				assert.Less(t, len(err.Error()), 2000)
			}
		})
	}
}

// No event waits for such a run.
func TestTemporalStarter_ARunWithAnotherInputIsAConflict(t *testing.T) {
	t.Parallel()
	server := startTemporal(t)
	for name, other := range map[string]any{"another event": inputOf(t, voice), "a list": []string{"x"}, "nothing": nil} {
		input := inputOf(t, conversationEvent(name, "began", "i"))
		server.byHand(t, fanout.WorkflowID(input.Event.ID), other)
		_, err := server.Start(t.Context(), input)
		require.ErrorAs(t, err, new(*ConflictError), name)
	}
}

// An earlier version may have read another type in the same bytes.
func TestTemporalStarter_AnIDMadeOfBytesIsNeverAConflict(t *testing.T) {
	t.Parallel()
	server := startTemporal(t)
	input := inputOf(t, `{"topicName":"x","eventBody":{}}`)
	before := input
	before.Event.Type = event.UnknownType
	server.byHand(t, fanout.WorkflowID(input.Event.ID), before)
	started, err := server.Start(t.Context(), input)
	require.NoError(t, err)
	assert.False(t, started)
}

// describing is a client whose DescribeWorkflowExecution a test replaces.
type describing struct {
	client.Client
	describe func(id, run string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
}

func (d describing) DescribeWorkflowExecution(_ context.Context, id, run string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return d.describe(id, run)
}

// The namespace's retention may delete the run between two answers.
func TestTemporalStarter_StartsAgainIfTheRunWasDeleted(t *testing.T) {
	t.Parallel()
	server := startTemporal(t)
	ctx := t.Context()
	input := inputOf(t, conversationEvent("evt-1", "began", "i"))
	_, err := server.Start(ctx, input)
	require.NoError(t, err)
	c := server.Client
	server.Client = describing{c, func(id, run string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
		_, err := c.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
			Namespace: devstack.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: id, RunId: run},
		})
		assert.NoError(t, err)
		var gone error
		wait(t, func() bool {
			_, gone = c.DescribeWorkflowExecution(ctx, id, run)
			return errors.As(gone, new(*serviceerror.NotFound))
		}, "deleted")
		return nil, gone
	}}
	started, err := server.Start(ctx, input)
	require.NoError(t, err)
	assert.True(t, started)
}

// Nothing is dropped or committed because of it.
func TestTemporalStarter_AFailedDescriptionIsRetryable(t *testing.T) {
	t.Parallel()
	server := startTemporal(t)
	input := inputOf(t, conversationEvent("evt-1", "began", "i"))
	_, err := server.Start(t.Context(), input)
	require.NoError(t, err)
	for _, failure := range []error{serviceerror.NewPermissionDenied("no", ""), serviceerror.NewNotFound("never found")} {
		other := server
		other.Client = describing{server.Client, func(string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) { return nil, failure }}
		started, err := other.Start(t.Context(), input)
		require.ErrorIs(t, err, failure)
		assert.False(t, started)
		assert.False(t, errors.As(err, new(*fanout.ContentError)) || errors.As(err, new(*ConflictError)))
	}
}

// An input that Temporal rejects is started in a smaller form.
func TestStart_ReducesRejectedInputsOnAServer(t *testing.T) {
	t.Parallel()
	server := startTemporal(t)
	s := newTestStarter(t, server.Start) // its search attributes are not registered
	start := func(value string) {
		m := message(value)
		input, _ := s.inputOf(m)
		ctx := await.Context(t)
		require.NoError(t, s.startMessage(ctx, m))
		other, err := server.eventOf(ctx, fanout.WorkflowID(input.Event.ID), "")
		require.NoError(t, err)
		assert.Equal(t, input.Event.Cut().ID, other.ID)
	}
	start(voice)
	assert.InDelta(t, 1, s.count("started"), 0)
	separators := strings.Repeat("\u2028", 300_000)
	start(`{"event_id":"` + separators + `","interaction":{"channel_type":"voice"}}`)
	start(`{"event_id":"evt-2","event_type":"` + strings.Repeat("\xff", 700_000) + `","interaction":{"channel_type":"voice"}}`)
	start(`{"event_id":"evt-3","interaction":{"id":"` + separators + `","channel_type":"voice"}}`)
	start(`{"event_id":"evt-4","interaction":{"channel_type":"voice","status":"` + separators + `"}}`)
	assert.InDelta(t, 4, s.count(string(event.ReasonOversize)), 0)
	start(voice)
	assert.InDelta(t, 1, s.count("duplicate"), 0)
	assert.NoError(t, s.health.of(CheckStarts))
}
