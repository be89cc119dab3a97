package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
)

const (
	completed  = enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	failed     = enums.WORKFLOW_EXECUTION_STATUS_FAILED
	canceled   = enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	terminated = enums.WORKFLOW_EXECUTION_STATUS_TERMINATED
	running    = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
)

// temporalCLI runs the Temporal CLI, as in the command lines of the documents.
func (s *stack) temporalCLI(args ...string) string {
	s.t.Helper()
	path, err := devstack.TemporalCLI()
	require.NoError(s.t, err)
	cli := exec.CommandContext(s.ctx, path, append(args, "--address", s.temporal.Address(), "--namespace", devstack.Namespace)...)
	out, err := cli.CombinedOutput()
	require.NoError(s.t, err, "temporal %v:\n%s", args, out)
	return string(out)
}

// reset resets the run of an event to its first workflow task.
func (s *stack) reset(eventID string) {
	s.t.Helper()
	s.temporalCLI("workflow", "reset", "--workflow-id", fanout.WorkflowID(eventID), "--type", "FirstWorkflowTask", "--reason", "the target is repaired")
}

// waitRecorded waits until a target has n open dead letters.
func (s *stack) waitRecorded(target string, n int) {
	s.t.Helper()
	await.Equal(s.t, "open records of "+target, n, func() int { return s.count(target) })
}

// publishAndFail publishes n events. It waits until each target has a dead letter of every event, and
// until all runs have failed.
func (s *stack) publishAndFail(n int, targets ...string) {
	s.t.Helper()
	s.publish(0, n)
	for _, target := range targets {
		s.waitRecorded(target, n)
	}
	for i := range n {
		s.waitStatus(s.id(i), failed)
	}
}

// count returns the number of a target's records in the tracker's directory, or in a folder of it.
func (s *stack) count(target string, folder ...string) int {
	files, err := filepath.Glob(filepath.Join(append(append([]string{s.deadLetters()}, folder...), target+"_*")...))
	require.NoError(s.t, err)
	return len(files)
}

// One run is reset by its ID, the others by a query. Targets that have the event do not get it again.
func TestReset_DeliversOnlyToTheTargetThatFailed(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": answers(http.StatusBadRequest)},
		analyticsAndCompliance)
	s.run("worker")
	ingest := s.run("ingest")
	s.publishAndFail(6, "compliance")
	s.targets["compliance"].SetScript(ok)
	s.reset(s.id(0))
	s.waitStatus(s.id(0), completed)

	query := `ExecutionStatus="Failed" AND DeadLetterTargets="compliance" AND TaskQueue="` + s.name + `"`
	s.eventually(func() bool {
		found, err := s.client.CountWorkflow(s.ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		return err == nil && found.GetCount() == 6 // the first run of the one that was reset stays Failed
	}, "the failed runs are found")
	s.temporalCLI("workflow", "reset", "--query", query, "--type", "FirstWorkflowTask", "--reason", "the target is repaired", "--yes")
	for i := range 6 {
		s.waitStatus(s.id(i), completed)
	}
	s.exactlyOnce("compliance", 6)
	s.exactlyOnce("analytics", 6)
	assert.Empty(t, s.records())
	assert.Equal(t, 6, s.count("compliance", "resolved"))

	s.produce(flatEvent(s.id(0), "conversation.started")) // redelivered
	s.eventually(func() bool { return s.starts(ingest, "duplicate") == 1 }, "a duplicate of the run that was reset")
	s.publish(6, 1)
	s.waitFor("compliance", hasEvents(7))
	s.exactlyOnce("compliance", 7)
}

// The start has the ID, the type, the task queue and the first argument of the run before, as with
// "Start Workflow Like This One" in the Temporal UI.
func TestManualStart_DeliversOnlyToTheTargetThatFailed(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "compliance": answers(http.StatusBadRequest)},
		analyticsAndCompliance)
	s.run("worker")
	s.run("ingest")
	s.publishAndFail(1, "compliance")
	history := s.client.GetWorkflowHistory(s.ctx, fanout.WorkflowID(s.id(0)), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	started, err := history.Next()
	require.NoError(t, err)
	input := string(started.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()[0].GetData())

	s.targets["compliance"].SetScript(ok)
	byHand := func(id string) {
		s.temporalCLI("workflow", "start", "--workflow-id", id, "--type", fanout.WorkflowName, "--task-queue", s.name, "--input", input)
	}
	byHand(fanout.WorkflowID(s.id(0)))
	s.waitStatus(s.id(0), completed)
	s.exactlyOnce("analytics", 1)
	s.exactlyOnce("compliance", 1)
	s.eventually(func() bool {
		found, err := s.client.CountWorkflow(s.ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: `ExecutionStatus="Completed" AND InteractionId="conv-` + s.id(0) + `"`,
		})
		return err == nil && found.GetCount() == 1
	}, "the run is found by its search attribute InteractionId")

	byHand("once-more-" + s.id(0))
	s.eventually(func() bool {
		return delivered(s.targets["analytics"])[s.id(0)] == 2 && delivered(s.targets["compliance"])[s.id(0)] == 2
	}, "a run with another ID sends the event to every target again")
}

// An operator may cancel, terminate or reset a run. No delivery is lost, and no run hangs.
func TestOperator_CancelTerminateAndResetLoseNoDelivery(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": answers(http.StatusServiceUnavailable)}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, retry_statuses: [429, 503], max_attempts: 50, backoff: {initial: 1s, multiplier: 1}}
`)
	s.run("worker")
	s.run("ingest")
	s.publish(0, 4)
	s.waitFor("notification", hasEvents(4))
	s.waitFor("analytics", hasEvents(4))
	id := func(i int) string { return fanout.WorkflowID(s.id(i)) }

	s.temporalCLI("workflow", "cancel", "--workflow-id", id(0))
	s.waitStatus(s.id(0), canceled)
	assert.Equal(t, event.ReasonCanceled, s.record("notification", s.id(0)).Reason)
	s.temporalCLI("workflow", "terminate", "--workflow-id", id(1), "--reason", "a test")
	s.waitStatus(s.id(1), terminated)
	s.reset(s.id(2)) // the reset terminates the running run and starts another
	s.waitStatus(s.id(2), running)

	s.targets["notification"].SetScript(ok)
	s.reset(s.id(0))
	s.reset(s.id(1))
	for i := range 4 {
		s.waitStatus(s.id(i), completed)
	}
	times := delivered(s.targets["notification"])
	assert.Len(t, times, 4)
	assert.Equal(t, 1, times[s.id(0)])
	assert.Equal(t, 1, times[s.id(3)])
	times = delivered(s.targets["analytics"])
	assert.Equal(t, 1, times[s.id(0)], "the canceled run had delivered it")
	assert.Equal(t, 2, times[s.id(1)], "the deliveries of a terminated run are unknown, so all are repeated")
	assert.Empty(t, s.records())
	assert.Equal(t, 1, s.count("notification", "resolved"))

	var statuses []fanout.DeliveryStatus
	out := s.temporalCLI("workflow", "query", "--workflow-id", id(0), "--type", fanout.QueryDeliveries, "--output", "json")
	var answer struct {
		QueryResult [][]fanout.DeliveryStatus `json:"queryResult"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answer), out)
	require.NotEmpty(t, answer.QueryResult)
	statuses = answer.QueryResult[0]
	require.Len(t, statuses, 1)
	assert.Equal(t, "notification", statuses[0].Target)
	assert.Equal(t, fanout.StateDelivered, statuses[0].State)
}

// The commands are those of the UI and the CLI for a waiting activity.
func TestOperator_PausesResetsAndUnpausesADelivery(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok, "notification": answers(http.StatusServiceUnavailable)}, `
  - {name: analytics, url: $ANALYTICS}
  - {name: notification, url: $NOTIFICATION, retry_statuses: [429, 503], max_attempts: 50, backoff: {initial: 1s, multiplier: 1}}
`)
	s.run("worker")
	s.run("ingest")
	s.publish(0, 4)
	s.waitFor("notification", hasEvents(4))
	activity := func(i int, command string, args ...string) {
		s.temporalCLI(append([]string{"activity", command, "--workflow-id", fanout.WorkflowID(s.id(i)), "--activity-id", "deliver-notification"}, args...)...)
	}
	activity(0, "pause")
	activity(1, "reset") // the next attempt is made at once instead of after the backoff
	s.targets["notification"].SetScript(ok)
	for i := 1; i < 4; i++ {
		s.waitStatus(s.id(i), completed)
	}
	assert.Zero(t, delivered(s.targets["notification"])[s.id(0)], "paused")
	s.waitStatus(s.id(0), running)
	activity(0, "unpause")
	s.waitStatus(s.id(0), completed)
	s.exactlyOnce("notification", 4)
	assert.Empty(t, s.records())
}

func TestDocuments_VisibilityQueriesAreValid(t *testing.T) {
	t.Parallel()
	s := newStack(t, targetScripts{"analytics": ok}, oneTarget)
	s.run("worker") // registers the search attributes
	var filters []string
	for file, filter := range map[string]*regexp.Regexp{
		"../README.md":            regexp.MustCompile(`(?m)^    (ExecutionStatus=.*)$`),
		"../docs/dead-letters.md": regexp.MustCompile("\\| `((?:ExecutionStatus|DeadLetterTargets)=[^`]*)`"),
		"../docs/conversation.md": regexp.MustCompile(`(?m)^    (InteractionId=.*)$`),
	} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		found := filter.FindAllSubmatch(text, -1)
		require.NotEmpty(t, found, file)
		for _, one := range found {
			if strings.Contains(string(one[1]), "=\"") {
				filters = append(filters, string(one[1]))
			}
		}
	}
	require.GreaterOrEqual(t, len(filters), 12)
	for _, filter := range filters {
		s.eventually(func() bool {
			_, err := s.client.CountWorkflow(s.ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: filter})
			return err == nil
		}, "Temporal accepts the query %s", filter)
	}
}
