package workflows

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// TestReplay replays runs as earlier versions left them behind. A history is
// never made anew: when one no longer replays, open runs of users would not
// either, and the change belongs behind workflow.GetVersion.
func TestReplay(t *testing.T) {
	histories, err := filepath.Glob("testdata/histories/*/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, histories)
	for _, history := range histories {
		t.Run(filepath.Base(history), func(t *testing.T) {
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DataConverter: DataConverter()})
			require.NoError(t, err)
			replayer.RegisterWorkflowWithOptions((&Workflows{}).FanOut, workflow.RegisterOptions{Name: FanOutName})
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, history))
		})
	}
}
