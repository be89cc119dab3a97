package workflows

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// TestReplay replays runs as earlier versions left them behind. A history is
// never made anew: when one no longer replays, open runs of users would not
// either, and the change belongs behind workflow.GetVersion.
func TestReplay(t *testing.T) {
	histories, err := filepath.Glob("testdata/histories/*/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, histories)
	for _, file := range histories {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.Open(file)
			require.NoError(t, err)
			defer func() { _ = data.Close() }()
			history, err := client.HistoryFromJSON(data, client.HistoryJSONOptions{})
			require.NoError(t, err)
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DataConverter: fanout.DataConverter()})
			require.NoError(t, err)
			replayer.RegisterWorkflowWithOptions((&Workflows{}).FanOut, workflow.RegisterOptions{Name: fanout.WorkflowName})
			require.NoError(t, replayer.ReplayWorkflowHistoryWithOptions(nil, history, worker.ReplayWorkflowHistoryOptions{
				OriginalExecution: workflow.Execution{ID: "any", RunID: runOf(history)},
			}))
		})
	}
}

// runOf is the run that a history is of: a reset one is not the one that it began
// with.
func runOf(history *historypb.History) string {
	run := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetOriginalExecutionRunId()
	for _, e := range history.GetEvents() {
		if reset := e.GetWorkflowTaskFailedEventAttributes(); reset.GetNewRunId() != "" {
			run = reset.GetNewRunId()
		}
	}
	return run
}
