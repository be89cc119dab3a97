package workflows_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
	"genesys-fanout/internal/process"
)

// hundredTargets returns a targets.yaml with as many targets as it may contain. Each target
// has a name of the given length and the given settings. The scripted target "all" serves them.
func hundredTargets(nameLength int, settings string) string {
	var list strings.Builder
	list.WriteString("targets:\n")
	for i := range 100 {
		fmt.Fprintf(&list, "  - name: %s%03d\n    url: $all\n%s", strings.Repeat("n", nameLength-3), i, strings.TrimLeft(settings, "\n"))
	}
	return list.String()
}

// answerPage makes the scripted target "all" answer with a long page, which takes six times
// its bytes as JSON.
func (r *runs) answerPage(status int) {
	page := strings.Repeat("\x01", 4<<10)
	r.Targets["all"].SetScript(func(devstack.Request) devstack.Answer { return devstack.Answer{Status: status, Body: page} })
}

// registerSearchAttributes registers the search attributes, as the processes do at their start.
func (r *runs) registerSearchAttributes() {
	r.T.Helper()
	attributes, err := process.EnsureSearchAttributes(r.Ctx, r.Client, devstack.Namespace, fanout.SearchAttributeKeys(), r.Workers.Log)
	require.NoError(r.T, err)
	require.True(r.T, attributes.Usable())
}

// startWithSearchAttributes starts the run of evt-1, which sets search attributes.
func (r *runs) startWithSearchAttributes() (fanout.Input, client.WorkflowRun) {
	r.T.Helper()
	r.registerSearchAttributes()
	in := r.Input("evt-1")
	in.SearchAttributes = true
	return in, r.Execute(fanout.StartOptions(in, fixture.TaskQueue, false), in)
}

// deadLetterTargets returns the search attribute DeadLetterTargets of a run, as the server has it.
func (r *runs) deadLetterTargets(run client.WorkflowRun) []string {
	r.T.Helper()
	described, err := r.Client.DescribeWorkflowExecution(r.Ctx, run.GetID(), run.GetRunID())
	require.NoError(r.T, err)
	var names []string
	payload := described.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()[fanout.DeadLetterTargetsKey.GetName()]
	require.NoError(r.T, converter.GetDefaultDataConverter().FromPayload(payload, &names))
	assert.LessOrEqual(r.T, len(payload.GetData()), 1900)
	return names
}

// TestLimits_HundredDeadLettersAreAllRecorded checks that a run ends with its own failure,
// whatever the names and the answers of the targets are. Every record is on disk, and the run
// can be replayed and reset.
func TestLimits_HundredDeadLettersAreAllRecorded(t *testing.T) {
	const once = `
    timeout: 30s
`
	const twice = `
    timeout: 30s
    retry_statuses: [503]
    max_attempts: 2
`
	for name, test := range map[string]struct {
		nameLength int
		fitting    int // the number of names in the search attribute, without the "…"
		settings   string
		status     int
		reason     event.Reason
	}{
		"rejected, 40 letters":  {40, 44, once, http.StatusBadRequest, event.ReasonRejected},
		"rejected, 18 letters":  {18, 90, once, http.StatusBadRequest, event.ReasonRejected},
		"exhausted, 40 letters": {40, 44, twice, http.StatusServiceUnavailable, event.ReasonExhausted},
		"exhausted, 18 letters": {18, 90, twice, http.StatusServiceUnavailable, event.ReasonExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, hundredTargets(test.nameLength, test.settings))
			r.answerPage(test.status)

			in, first := r.startWithSearchAttributes()
			require.ErrorContains(t, r.endsIn(failed, first), "100 of 100 deliveries dead-lettered")
			r.assertHundredRecords(test.reason)
			assertFitting(t, in, test.fitting, r.deadLetterTargets(first))
			r.assertMetadataWithinLimits(first)
			await.True(t, "a filter to find the run", func() bool {
				found, err := r.Client.CountWorkflow(r.Ctx, &workflowservice.CountWorkflowExecutionsRequest{
					Namespace: devstack.Namespace, Query: `ExecutionStatus="Failed" AND DeadLetterTargets="…"`,
				})
				return err == nil && found.GetCount() == 1
			})

			replay := r.replay(in, nil)
			require.ErrorContains(t, r.endsIn(failed, replay), "100 of 100 deliveries dead-lettered")
			r.assertHundredRecords(test.reason)
			assertFitting(t, in, test.fitting, r.deadLetterTargets(replay))
			r.assertMetadataWithinLimits(replay)

			r.Answer("all", http.StatusOK)
			r.completes(r.reset(replay, firstTask))
			assert.Empty(t, r.openRecords("evt-1"))
		})
	}
}

// assertHundredRecords asserts that evt-1 has 100 open records, each with the reason.
func (r *runs) assertHundredRecords(reason event.Reason) {
	r.T.Helper()
	open := r.openRecords("evt-1")
	assert.Len(r.T, open, 100)
	for _, name := range open {
		record, err := r.Tracker.Get(name, "evt-1")
		require.NoError(r.T, err)
		assert.Equal(r.T, reason, record.Reason, name)
	}
}

// assertFitting asserts that names contains the first n targets of the input, followed by
// the "…" that says that there are more.
func assertFitting(t *testing.T, in fanout.Input, n int, names []string) {
	t.Helper()
	want := make([]string, 0, n+1)
	for _, policy := range in.Targets[:n] {
		want = append(want, policy.Target)
	}
	assert.Equal(t, append(want, "…"), names)
}

// TestLimits_HundredDeliveriesAreAllRecordedWhenCanceled cancels a run while each of its
// deliveries waits for the next attempt.
func TestLimits_HundredDeliveriesAreAllRecordedWhenCanceled(t *testing.T) {
	r := start(t, hundredTargets(40, `
    retry_statuses: [503]
    max_attempts: 100
    backoff: {initial: 3s, multiplier: 1}
`))
	r.answerPage(http.StatusServiceUnavailable)
	in, run := r.startWithSearchAttributes()
	r.awaitRequests("all", 150)
	r.cancel(run)
	require.Error(t, r.endsIn(canceled, run))
	r.assertHundredRecords(event.ReasonCanceled)
	assertFitting(t, in, 44, r.deadLetterTargets(run))
	r.assertMetadataWithinLimits(run)
}

// TestSearchAttribute_NamesATargetOnlyAfterItsRecord checks that the tracker has a record
// before the search attribute names its target, because a server that rejects the attribute
// ends the run.
func TestSearchAttribute_NamesATargetOnlyAfterItsRecord(t *testing.T) {
	r := startThree(t)
	r.Answer("b", http.StatusServiceUnavailable)
	_, run := r.startWithSearchAttributes()
	r.awaitRequests("b", 2)
	r.Answer("b", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, run))
	assert.Equal(t, []string{"b", "c"}, r.deadLetterTargets(run))

	// A run that was reset sets the same attribute.
	reset := r.reset(run, firstTask)
	require.Error(t, r.endsIn(failed, reset))
	assert.Equal(t, []string{"b", "c"}, r.deadLetterTargets(reset))

	var order []string
	activities := map[int64]string{}
	for _, e := range r.Events(run) {
		activities[e.GetEventId()] = e.GetActivityTaskScheduledEventAttributes().GetActivityId()
		if done := e.GetActivityTaskCompletedEventAttributes(); done != nil {
			order = append(order, activities[done.GetScheduledEventId()])
		}
		upserted := e.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
		if payload := upserted[fanout.DeadLetterTargetsKey.GetName()]; payload != nil {
			order = append(order, string(payload.GetData()))
		}
	}
	assert.Equal(t, []string{"record-c", `["c"]`, "record-b", `["b","c"]`}, order)
}

// assertMetadataWithinLimits asserts that the summary and the details of every event of a run
// are within the limits that newer servers check.
func (r *runs) assertMetadataWithinLimits(run client.WorkflowRun) {
	r.T.Helper()
	const summary, details = 400, 20_000 // limit.userMetadataSummarySize and limit.userMetadataDetailsSize
	for _, e := range r.Events(run) {
		assert.LessOrEqual(r.T, proto.Size(e.GetUserMetadata().GetSummary()), summary, "%s", e.GetUserMetadata().GetSummary().GetData())
		assert.LessOrEqual(r.T, proto.Size(e.GetUserMetadata().GetDetails()), details)
	}
}

// TestLimits_AnAnswerThatIsNotHTTPBecomesADeadLetter: net/http quotes the whole first line of
// such an answer in its error, and the line can be megabytes long.
func TestLimits_AnAnswerThatIsNotHTTPBecomesADeadLetter(t *testing.T) {
	line := strings.Repeat("x", 5<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			_, _ = io.WriteString(conn, line+"\n")
			_ = conn.Close()
		}
	}))
	t.Cleanup(server.Close)
	r := start(t, `
targets:
  - name: a
    url: `+server.URL+`
    max_attempts: 2
`)
	run := r.StartRun("evt-1")
	require.ErrorContains(t, r.endsIn(failed, run), "a exhausted after 2 attempts")
	record := r.AwaitRecord("a", "evt-1")
	assert.Contains(t, record.Error, "malformed HTTP response")
	assert.Less(t, len(record.Error), 3<<10)
	r.assertMetadataWithinLimits(run)
}

// TestLimits_AnEventOfLongFieldsIsRecordedForHundredTargets uses fields and answers that take
// six times their bytes as JSON.
func TestLimits_AnEventOfLongFieldsIsRecordedForHundredTargets(t *testing.T) {
	r := start(t, hundredTargets(40, `
    timeout: 30s
`))
	r.answerPage(http.StatusBadRequest)
	in := r.Input("evt-1")
	in.Event.InteractionID = strings.Repeat("\x01", 3700)
	in.Event.Type, in.Event.ChannelType = strings.Repeat(`"`, 160), strings.Repeat(`"`, 160)
	in.Body = event.Body(`{"a":"` + strings.Repeat("x", 10_000) + `"}`)
	run := r.Execute(fanout.StartOptions(in, fixture.TaskQueue, false), in)
	require.ErrorContains(t, r.endsIn(failed, run), "100 of 100 deliveries dead-lettered")
	r.assertHundredRecords(event.ReasonRejected)
	record, err := r.Tracker.Get(in.Targets[0].Target, "evt-1")
	require.NoError(t, err)
	assert.Equal(t, in.Event.InteractionID, record.InteractionID)
	assert.JSONEq(t, string(in.Body), string(record.Payload))
	r.assertMetadataWithinLimits(run)
}
