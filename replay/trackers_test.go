package replay

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// unread is a history of which the first event cannot be read.
type unread struct{ err error }

func (unread) HasNext() bool                            { return true }
func (u unread) Next() (*historypb.HistoryEvent, error) { return nil, u.err }

// GetWorkflowHistory knows no run.
func (a *answers) GetWorkflowHistory(context.Context, string, string, bool, enums.HistoryEventFilterType) client.HistoryEventIterator {
	return unread{serviceerror.NewNotFound("no such workflow")}
}

// noting is a Temporal that is away at the first question, and notes the memo of a
// run that is started.
type noting struct {
	*answers
	asked int
	memo  map[string]any
}

func (n *noting) GetWorkflowHistory(ctx context.Context, workflowID, runID string, wait bool, filter enums.HistoryEventFilterType) client.HistoryEventIterator {
	if n.asked++; n.asked == 1 {
		return unread{serviceerror.NewUnavailable("away")}
	}
	return n.answers.GetWorkflowHistory(ctx, workflowID, runID, wait, filter)
}

func (n *noting) ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	n.memo = options.Memo
	return n.answers.ExecuteWorkflow(ctx, options, workflow, args...)
}

// TestStart_TheMemoNamesTheTrackerThatIsRead: a Temporal that does not say how the
// last run ended is waited for, because the run must know which trackers to ask.
func TestStart_TheMemoNamesTheTrackerThatIsRead(t *testing.T) {
	r, c, told := starter()
	tracker, err := deadletter.Open(t.TempDir())
	require.NoError(t, err)
	r.plan.selection.Tracker = tracker
	temporal := &noting{answers: c}
	r.options.Client = temporal
	_, err = r.start(t.Context(), fanout.Input{Message: event.Message{Event: event.Event{ID: "evt-1"}}, Targets: []target.Policy{{Target: "a"}}})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"a": tracker.ID()}, temporal.memo[fanout.MemoTrackers])
	require.Len(t, *told, 2)
	assert.Contains(t, (*told)[0], "waiting for Temporal: read how the last run of an event ended: ")
	assert.Contains(t, (*told)[1], "Temporal answers again")
}

func TestWithTracker(t *testing.T) {
	in := fanout.Input{Targets: []target.Policy{{Target: "a"}, {Target: "b"}}}
	known := map[string]string{"a": "old", "c": "other"}
	assert.Equal(t, map[string]string{"a": "this", "b": "this", "c": "other"}, withTracker(known, in, "this"))
	assert.Equal(t, map[string]string{"a": "old", "c": "other"}, known, "it is not changed")
	assert.Equal(t, known, withTracker(known, in, ""))
}
