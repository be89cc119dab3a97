package workflows

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// TestPlan_CorrectsInputsWrittenByHand checks that a target gets one delivery, and that its policy
// is one that Temporal accepts.
func TestPlan_CorrectsInputsWrittenByHand(t *testing.T) {
	one := target.Policy{Target: "a"}
	deliveries := plan(fanout.Input{Targets: []target.Policy{one, one, {Target: "b", Backoff: target.Backoff{Initial: 9, Max: 1}}}})
	require.Len(t, deliveries, 2, "an ActivityID must be unique")
	for _, d := range deliveries {
		policy := retryPolicy(d.policy)
		assert.Positive(t, policy.InitialInterval, "Temporal rejects any other")
		assert.Positive(t, d.policy.MaxAttempts)
		assert.Positive(t, d.policy.Timeout)
	}
}

// TestInline_LeavesOutLargeEventsAndBodies checks that the parts of the message in the inputs of
// one workflow task stay below fanout.InlineTotal, whatever the bytes are.
func TestInline_LeavesOutLargeEventsAndBodies(t *testing.T) {
	for name, test := range map[string]struct {
		id           string
		body         string
		targets      int
		event, whole bool // whether the inputs carry the event, and whether they carry the body
	}{
		"small":                       {"evt-1", "{}", 100, true, true},
		"largest body":                {"evt-1", strings.Repeat("x", fanout.InlineBody), 7, true, true},
		"over the largest body":       {"evt-1", strings.Repeat("x", fanout.InlineBody+1), 1, true, false},
		"for too many targets":        {"evt-1", strings.Repeat("x", fanout.InlineBody/2), 16, true, false},
		"for too many as base64":      {"evt-1", strings.Repeat("\xff", fanout.InlineBody), 6, true, false},
		"long id":                     {strings.Repeat("x", 10_000), "{}", 100, true, true},
		"long id of control chars":    {strings.Repeat("\x01", 10_000), "{}", 100, false, true},
		"id and body that fit singly": {strings.Repeat("x", 6_000), strings.Repeat("x", 6_000), 100, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := fanout.Input{Message: event.Message{Event: event.Event{ID: test.id}, Body: event.Body(test.body)}}
			for i := range test.targets {
				in.Targets = append(in.Targets, target.Policy{Target: strconv.Itoa(i)})
			}
			carried := 0
			for _, d := range plan(in) {
				assert.Equal(t, test.event, d.inline.Event.ID != "")
				assert.Equal(t, test.whole, len(d.inline.Body) > 0)
				with, err := fanout.DataConverter().ToPayload(fanout.DeliverInput{Message: event.Message{Event: d.inline.Event, Body: d.inline.Body}, Policy: d.policy})
				require.NoError(t, err)
				without, err := fanout.DataConverter().ToPayload(fanout.DeliverInput{Policy: d.policy})
				require.NoError(t, err)
				carried += len(with.GetData()) - len(without.GetData())
			}
			assert.LessOrEqual(t, carried, fanout.InlineTotal+test.targets*len(`"event":,"body":,`))
		})
	}
}

// TestApplyOutcome_DropsAJitterThatDoesNotFitIntoMaxAge: the retry lane would give the delivery up
// because of the jitter alone.
func TestApplyOutcome_DropsAJitterThatDoesNotFitIntoMaxAge(t *testing.T) {
	const least = 95 * time.Second
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		now := workflow.Now(ctx)
		for wait, want := range map[time.Duration]time.Duration{98 * time.Second: 98 * time.Second, 104 * time.Second: least} {
			d := &delivery{policy: target.Policy{MaxAttempts: 3, MaxAge: target.Duration(100 * time.Second)}, run: &run{began: now}}
			ended := d.applyOutcome(ctx, fanout.Outcome{Verdict: fanout.Retry, NotBefore: now.Add(wait), Wait: fanout.Wait{Least: target.Duration(least), Why: "the backoff"}})
			assert.False(t, ended)
			assert.Equal(t, now.Add(want), d.notBefore)
		}
		return nil
	})
	require.NoError(t, env.GetWorkflowError())
}

// TestSummaries_StayBelowTheServersLimit checks that the payload of a summary stays below the
// server's limit of 400 bytes.
func TestSummaries_StayBelowTheServersLimit(t *testing.T) {
	d := &delivery{target: strings.Repeat("n", 40), reason: event.ReasonExhausted}
	d.progress.Attempts = 1_000_000
	for _, unit := range []string{"x", "ü", `"`, "\x01", "\u2028", "<"} {
		d.progress.Error = strings.Repeat(unit, 1000)
		for _, line := range []string{d.failureSummary(), d.progressSummary(), repeatPrefix + d.failureSummary()} {
			payload, err := fanout.DataConverter().ToPayload(fanout.Summarize(line))
			require.NoError(t, err)
			assert.LessOrEqual(t, proto.Size(payload), 327, "a codec needs room")
			assert.GreaterOrEqual(t, len(payload.GetData()), 250, "no more than necessary is cut")
			assert.True(t, utf8.ValidString(fanout.Summarize(line)))
		}
	}
	assert.Equal(t, "a rejected", fanout.Summarize("a rejected"))
}
