package workflows_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/process"
)

// manyTargets returns a list of as many targets as targets.yaml may contain. Each target
// has a name of the given length and the given members.
func manyTargets(letters int, members string) string {
	var list strings.Builder
	for i := range 100 {
		name := strings.Repeat("n", letters-3) + fmt.Sprintf("%03d", i)
		fmt.Fprintf(&list, "  - {name: %s, url: $URL, %s}\n", name, members)
	}
	return list.String()
}

// registered registers the search attributes, as the processes do at their start.
func (r *runs) registered() {
	r.t.Helper()
	usable, err := process.EnsureSearchAttributes(r.ctx, r.client, devstack.Namespace, fanout.SearchAttributeKeys(), r.process.Log)
	require.NoError(r.t, err)
	require.True(r.t, usable.Usable())
}

// marked returns the search attribute DeadLetterTargets of a run, as the server has it.
func (r *runs) marked(run client.WorkflowRun) []string {
	r.t.Helper()
	described, err := r.client.DescribeWorkflowExecution(r.ctx, run.GetID(), run.GetRunID())
	require.NoError(r.t, err)
	var names []string
	payload := described.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()[fanout.DeadLetterTargetsKey.GetName()]
	require.NoError(r.t, converter.GetDefaultDataConverter().FromPayload(payload, &names))
	assert.LessOrEqual(r.t, len(payload.GetData()), 1900)
	return names
}

// TestFanOut_RecordsEveryDeadLetterOfAHundredTargets checks that a run ends with its own
// failure, whatever the names and the answers of the targets are. Every record is on disk,
// and the run can be replayed and reset.
func TestFanOut_RecordsEveryDeadLetterOfAHundredTargets(t *testing.T) {
	for _, test := range []struct {
		name    string
		letters int
		marks   int // the number of names in the attribute, without the "…"
		members string
		status  int
		reason  event.Reason
	}{
		{"rejected, 40 letters", 40, 44, "timeout: 30s", http.StatusBadRequest, event.ReasonRejected},
		{"rejected, 18 letters", 18, 90, "timeout: 30s", http.StatusBadRequest, event.ReasonRejected},
		{"exhausted, 40 letters", 40, 44, "timeout: 30s, retry_statuses: [503], max_attempts: 2", http.StatusServiceUnavailable, event.ReasonExhausted},
		{"exhausted, 18 letters", 18, 90, "timeout: 30s, retry_statuses: [503], max_attempts: 2", http.StatusServiceUnavailable, event.ReasonExhausted},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mended atomic.Bool
			page := strings.Repeat("\x01", 4<<10) // JSON makes it six times as long
			r := startFleet(t, func(w http.ResponseWriter, _ *http.Request) {
				if !mended.Load() {
					answer(w, test.status, page)
				}
			}, manyTargets(test.letters, test.members))
			r.registered()
			in := r.input("evt-1")
			in.SearchAttributes = true

			first := r.execute(fanout.StartOptions(in, r.queue, ""), in)
			require.ErrorContains(t, r.endsIn(failed, first), "100 of 100 deliveries dead-lettered")
			r.hasHundredRecords(test.reason)
			assertMarks(t, in, test.marks, r.marked(first))
			r.withinLimits(first)
			await.True(t, "a filter to find the run", func() bool {
				found, err := r.client.CountWorkflow(r.ctx, &workflowservice.CountWorkflowExecutionsRequest{
					Namespace: devstack.Namespace, Query: `ExecutionStatus="Failed" AND DeadLetterTargets="…"`,
				})
				return err == nil && found.GetCount() == 1
			})

			replay := r.execute(fanout.ReplayOptions(in, r.queue, nil), in)
			require.ErrorContains(t, r.endsIn(failed, replay), "100 of 100 deliveries dead-lettered")
			r.hasHundredRecords(test.reason)
			assertMarks(t, in, test.marks, r.marked(replay))
			r.withinLimits(replay)

			mended.Store(true)
			r.completes(r.reset(replay, firstTask))
			assert.Empty(t, r.open("evt-1"))
		})
	}
}

// hasHundredRecords asserts that evt-1 has 100 open records, each with the reason.
func (r *runs) hasHundredRecords(reason event.Reason) {
	r.t.Helper()
	open := r.open("evt-1")
	assert.Len(r.t, open, 100)
	for _, name := range open {
		record, err := r.tracker.Get(name, "evt-1")
		require.NoError(r.t, err)
		assert.Equal(r.t, reason, record.Reason, name)
	}
}

// assertMarks asserts that marked contains the first n targets of the input, followed by
// the "…" that says that there are more.
func assertMarks(t *testing.T, in fanout.Input, n int, marked []string) {
	t.Helper()
	want := make([]string, 0, n+1)
	for _, policy := range in.Targets[:n] {
		want = append(want, policy.Target)
	}
	assert.Equal(t, append(want, "…"), marked)
}

// TestFanOut_RecordsEveryDeliveryOfAHundredTargetsWhenCanceled cancels a run while each of its
// deliveries waits for the next attempt.
func TestFanOut_RecordsEveryDeliveryOfAHundredTargetsWhenCanceled(t *testing.T) {
	page := strings.Repeat("\x01", 4<<10)
	var requests atomic.Int32
	r := startFleet(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusServiceUnavailable, page)
		requests.Add(1)
	}, manyTargets(40, "retry_statuses: [503], max_attempts: 100, backoff: {initial: 3s, multiplier: 1}"))
	r.registered()
	in := r.input("evt-1")
	in.SearchAttributes = true
	run := r.execute(fanout.StartOptions(in, r.queue, ""), in)
	await.True(t, "150 requests", func() bool { return requests.Load() >= 150 })
	require.NoError(t, r.client.CancelWorkflow(r.ctx, run.GetID(), run.GetRunID()))
	require.Error(t, r.endsIn(canceled, run))
	r.hasHundredRecords(event.ReasonCanceled)
	assertMarks(t, in, 44, r.marked(run))
	r.withinLimits(run)
}

// TestFanOut_MarksARunOnlyAfterTheRecord checks that the tracker has a record before the search
// attribute names its target, because a server that refuses the attribute ends the run.
func TestFanOut_MarksARunOnlyAfterTheRecord(t *testing.T) {
	r, f := startThree(t)
	f.answer("b", http.StatusServiceUnavailable)
	r.registered()
	in := r.input("evt-1")
	in.SearchAttributes = true
	run := r.execute(fanout.StartOptions(in, r.queue, ""), in)
	r.under(f, 2)
	f.answer("b", http.StatusBadRequest)
	require.Error(t, r.endsIn(failed, run))
	assert.Equal(t, []string{"b", "c"}, r.marked(run))

	// A run that was reset sets the same attribute.
	again := r.reset(run, firstTask)
	require.Error(t, r.endsIn(failed, again))
	assert.Equal(t, []string{"b", "c"}, r.marked(again))

	var order []string
	activities := map[int64]string{}
	history := r.client.GetWorkflowHistory(r.ctx, run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		require.NoError(t, err)
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

// withinLimits asserts that every event of a run is within the limits that newer servers check.
func (r *runs) withinLimits(run client.WorkflowRun) {
	r.t.Helper()
	const summary, details = 400, 20_000 // limit.userMetadataSummarySize and limit.userMetadataDetailsSize
	history := r.client.GetWorkflowHistory(r.ctx, run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		require.NoError(r.t, err)
		assert.LessOrEqual(r.t, proto.Size(e.GetUserMetadata().GetSummary()), summary, "%s", e.GetUserMetadata().GetSummary().GetData())
		assert.LessOrEqual(r.t, proto.Size(e.GetUserMetadata().GetDetails()), details)
	}
}

// TestFanOut_RecordsWhatATargetAnswersInsteadOfHTTP checks that an answer which is not HTTP
// becomes a dead letter. net/http quotes the whole first line of such an answer in its
// error, and the line can be megabytes long.
func TestFanOut_RecordsWhatATargetAnswersInsteadOfHTTP(t *testing.T) {
	line := strings.Repeat("x", 5<<20)
	r := startFleet(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			_, _ = io.WriteString(conn, line+"\n")
			_ = conn.Close()
		}
	}, "  - {name: a, url: $URL, max_attempts: 2}\n")
	run := r.start("evt-1")
	require.ErrorContains(t, r.endsIn(failed, run), "a exhausted after 2 attempts")
	record := r.recorded()
	assert.Contains(t, record.Error, "malformed HTTP response")
	assert.Less(t, len(record.Error), 3<<10)
	r.withinLimits(run)
}

// TestFanOut_RecordsAnEventOfLongWordsForAHundredTargets uses words and answers that take
// six times their bytes as JSON.
func TestFanOut_RecordsAnEventOfLongWordsForAHundredTargets(t *testing.T) {
	page := strings.Repeat("\x01", 4<<10)
	r := startFleet(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusBadRequest, page) }, manyTargets(40, "timeout: 30s"))
	in := r.input("evt-1")
	in.Event.InteractionID = strings.Repeat("\x01", 3700)
	in.Event.Type, in.Event.ChannelType = strings.Repeat(`"`, 160), strings.Repeat(`"`, 160)
	in.Body = event.Body(`{"a":"` + strings.Repeat("x", 10_000) + `"}`)
	run := r.execute(fanout.StartOptions(in, r.queue, ""), in)
	require.ErrorContains(t, r.endsIn(failed, run), "100 of 100 deliveries dead-lettered")
	r.hasHundredRecords(event.ReasonRejected)
	record, err := r.tracker.Get(in.Targets[0].Target, "evt-1")
	require.NoError(t, err)
	assert.Equal(t, in.Event.InteractionID, record.InteractionID)
	assert.JSONEq(t, string(in.Body), string(record.Payload))
	r.withinLimits(run)
}
