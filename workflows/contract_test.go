package workflows

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
)

func TestNames(t *testing.T) {
	assert.Equal(t, "event-evt%201", ID("evt 1"))
	assert.Equal(t, "genesys-fanout/target/a", TargetQueue(DefaultTaskQueue, "a"))
	assert.Equal(t, "genesys-fanout/dead-letter", DeadLetterQueue(DefaultTaskQueue))
	for reason, want := range map[deadletter.Reason]string{
		deadletter.Undecodable: deadletter.UndecodableTarget, deadletter.Oversize: deadletter.OversizeTarget, deadletter.Conflict: deadletter.ConflictTarget,
	} {
		assert.Equal(t, want, (&Undeliverable{Reason: reason}).target())
	}
}

// TestSearchAttributes: what is registered are the names and types that filters
// are written with, and a start uses no other.
func TestSearchAttributes(t *testing.T) {
	types := map[string]enums.IndexedValueType{}
	for _, key := range SearchAttributeKeys() {
		types[key.GetName()] = key.GetValueType()
	}
	assert.Equal(t, map[string]enums.IndexedValueType{
		"EventType":         enums.INDEXED_VALUE_TYPE_KEYWORD,
		"InteractionId":     enums.INDEXED_VALUE_TYPE_KEYWORD,
		"ChannelType":       enums.INDEXED_VALUE_TYPE_KEYWORD,
		"DeadLetterTargets": enums.INDEXED_VALUE_TYPE_KEYWORD_LIST,
	}, types)
	started := StartOptions(Input{Event: event.Event{ID: "a", Type: "b", InteractionID: "c", ChannelType: "d"}, SearchAttributes: true}, "", "").TypedSearchAttributes
	assert.Equal(t, 3, started.Size())
	for key := range started.GetUntypedValues() {
		assert.Contains(t, types, key.GetName())
	}
}

// TestAMegabyteAlwaysFits: whatever the bytes of a message of 1 MiB, the input
// that carries it stays below what Temporal takes.
func TestAMegabyteAlwaysFits(t *testing.T) {
	const limit = 19 << 20 / 10
	for name, unit := range map[string]string{
		"markup": "<>&", "quotes": `"`, "backslashes": `\`, "control": "\x01", "invalid": "\xff", "separators": "\u2028", "wide": "😀", "plain": "a",
	} {
		body := strings.Repeat(unit, 1<<20/len(unit))
		payload, err := DataConverter().ToPayload(Input{Body: event.Body(body), Targets: make([]target.Policy, 100)})
		require.NoError(t, err)
		assert.Less(t, len(payload.GetData()), limit, name)
		var back Input
		require.NoError(t, DataConverter().FromPayload(payload, &back))
		assert.Equal(t, body, string(back.Body), name)
	}
}

// TestInputReadsWell: what stands in Temporal UI can be read, and copied into a
// run that is started by hand.
func TestInputReadsWell(t *testing.T) {
	in := Input{
		Event:   event.Event{ID: "evt-1", Type: "conversation.started"},
		Body:    event.Body(`{"a":"<b>"}`),
		Targets: []target.Policy{target.Policy{Target: "analytics-service"}.Normalized()},
	}
	payload, err := DataConverter().ToPayload(in)
	require.NoError(t, err)
	assert.Equal(t, `{"event":{"id":"evt-1","type":"conversation.started"},"body":"{\"a\":\"<b>\"}",`+
		`"source":{"topic":"","partition":0,"offset":0},"targets":[{"target":"analytics-service","max_attempts":3,`+
		`"backoff":{"initial":"2s","multiplier":2,"max":"5m0s"},"timeout":"5s","max_retry_after":"15m0s","max_age":"24h0m0s","fast_lane":false}],`+
		`"search_attributes":false}`, string(payload.GetData()))
	escaped, err := json.Marshal(in) // as another client would write it
	require.NoError(t, err)
	payload.Data = escaped
	var back Input
	require.NoError(t, DataConverter().FromPayload(payload, &back))
	assert.Equal(t, in, back)
}

// TestStart_NamesTheRunByTheEventsOwnWords: what Temporal keeps of an input without its
// message is small whatever the words are, and what names the run is made of them.
func TestStart_NamesTheRunByTheEventsOwnWords(t *testing.T) {
	long := strings.Repeat("\u2028", 300_000)
	in := Input{
		Event:            event.Event{ID: long, Type: long + "t", InteractionID: long + "i", ChannelType: long + "c", Status: long + "s"},
		Source:           event.Source{Topic: strings.Repeat("t", 249), Partition: 1, Offset: 2},
		Undeliverable:    &Undeliverable{Reason: deadletter.Oversize, Error: "too large"},
		SearchAttributes: true,
	}
	for _, options := range []client.StartWorkflowOptions{StartOptions(in, "q", "r"), ReplayOptions(in, "q", nil)} {
		assert.Equal(t, "event-"+event.Escape(long), options.ID)
		assert.Equal(t, in.Event.Hash(), options.Memo[MemoEventHash])
		assert.LessOrEqual(t, len(options.StaticSummary), 400)
		assert.LessOrEqual(t, len(options.StaticDetails), 1000)
		for key, want := range map[temporal.SearchAttributeKeyKeyword]string{EventType: long + "t", InteractionID: long + "i", ChannelType: long + "c"} {
			got, ok := options.TypedSearchAttributes.GetKeyword(key)
			assert.True(t, ok)
			assert.Equal(t, event.Escape(want), got)
		}
	}
	var started Input
	_, err := Start(t.Context(), startedWith{started: &started}, StartOptions(in, "q", ""), in)
	require.NoError(t, err)
	assert.Equal(t, in.Event.Cut(), started.Event)
	assert.Equal(t, in.Source, started.Source)
	assert.Equal(t, event.Escape(long), started.Event.ID)
	assert.Equal(t, searchAttributes(in.Event, event.Escape), searchAttributes(started.Event, event.EscapeCut), "a copy that is started by hand has the same")

	// A message that Temporal accepts travels with its words as they are.
	in.Undeliverable, in.Body, in.Event = nil, event.Body("{}"), event.Event{ID: strings.Repeat("ü", 1000), Type: strings.Repeat("t", 1000)}
	_, err = Start(t.Context(), startedWith{started: &started}, StartOptions(in, "q", ""), in)
	require.NoError(t, err)
	assert.Equal(t, in.Event, started.Event)
}

// startedWith is a client that keeps the input of a start.
type startedWith struct {
	client.Client
	started *Input
}

func (c startedWith) ExecuteWorkflow(_ context.Context, _ client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	raw, _ := args[0].(converter.RawValue)
	*c.started = Input{}
	return nil, DataConverter().FromPayload(raw.Payload(), c.started)
}

func TestPlanIsSafeForInputsWrittenByHand(t *testing.T) {
	one := target.Policy{Target: "a"}
	deliveries := plan(Input{Targets: []target.Policy{one, one, {Target: "b", Backoff: target.Backoff{Initial: 9, Max: 1}}}})
	require.Len(t, deliveries, 2, "an ActivityID may not be used twice")
	for _, d := range deliveries {
		policy := retryPolicy(d.policy)
		assert.GreaterOrEqual(t, policy.MaximumInterval, policy.InitialInterval, "Temporal refuses any other for ever")
		assert.Positive(t, d.policy.MaxAttempts)
		assert.Positive(t, d.policy.Timeout)
	}
}

// TestInline_LeavesOutWhatTakesTooMuchOfAWorkflowTask: what the inputs of one
// task carry of the message stays below inlineTotal, whatever its bytes.
func TestInline_LeavesOutWhatTakesTooMuchOfAWorkflowTask(t *testing.T) {
	for name, test := range map[string]struct {
		id           string
		body         string
		targets      int
		event, whole bool // what the inputs carry
	}{
		"small":                       {"evt-1", "{}", 100, true, true},
		"largest body":                {"evt-1", strings.Repeat("x", inlineBody), 7, true, true},
		"over the largest body":       {"evt-1", strings.Repeat("x", inlineBody+1), 1, true, false},
		"for too many targets":        {"evt-1", strings.Repeat("x", inlineBody/2), 16, true, false},
		"for too many as base64":      {"evt-1", strings.Repeat("\xff", inlineBody), 6, true, false},
		"long id":                     {strings.Repeat("x", 10_000), "{}", 100, true, true},
		"long id of control chars":    {strings.Repeat("\x01", 10_000), "{}", 100, false, true},
		"id and body that fit singly": {strings.Repeat("x", 6_000), strings.Repeat("x", 6_000), 100, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Event: event.Event{ID: test.id}, Body: event.Body(test.body)}
			for i := range test.targets {
				in.Targets = append(in.Targets, target.Policy{Target: strconv.Itoa(i)})
			}
			carried := 0
			for _, d := range plan(in) {
				assert.Equal(t, test.event, d.inline.Event.ID != "")
				assert.Equal(t, test.whole, len(d.inline.Body) > 0)
				with, err := DataConverter().ToPayload(activities.Delivery{Event: d.inline.Event, Body: d.inline.Body, Policy: d.policy})
				require.NoError(t, err)
				without, err := DataConverter().ToPayload(activities.Delivery{Policy: d.policy})
				require.NoError(t, err)
				carried += len(with.GetData()) - len(without.GetData())
			}
			assert.LessOrEqual(t, carried, inlineTotal+test.targets*len(`"event":,"body":,`))
		})
	}
}

// TestFitting_KeepsTheAttributeBelowTheServersLimit for names of every length.
func TestFitting_KeepsTheAttributeBelowTheServersLimit(t *testing.T) {
	names := func(letters, n int) (list []string) {
		for i := range n {
			list = append(list, strings.Repeat("n", letters-3)+fmt.Sprintf("%03d", i))
		}
		return list
	}
	assert.Empty(t, fitting(nil))
	assert.Equal(t, []string{"a", "b"}, fitting([]string{"a", "b"}))
	assert.Equal(t, []string{more}, fitting([]string{strings.Repeat("n", 1900)}), "written by hand")
	assert.Equal(t, names(40, 44), fitting(names(40, 44)), "1,893 bytes")
	assert.Equal(t, append(names(40, 44), more), fitting(names(40, 45)))
	for letters := 3; letters <= 40; letters++ {
		for n := 1; n <= 100; n++ {
			all := names(letters, n)
			got := fitting(all)
			size := func(list []string) int {
				encoded, err := json.Marshal(list)
				require.NoError(t, err)
				return len(encoded)
			}
			require.LessOrEqual(t, size(got), 1900)
			if len(got) == n && got[n-1] == all[n-1] {
				continue
			}
			require.Greater(t, size(all), 1900, "all of them fit")
			fit := len(got) - 1
			require.Equal(t, append(all[:fit:fit], more), got)
			require.Greater(t, size(append(all[:fit+1:fit+1], more)), 1900, "one more would fit")
		}
	}
}

// TestSummarized_KeepsALineBelowTheServersLimit of 400 bytes for its payload.
func TestSummarized_KeepsALineBelowTheServersLimit(t *testing.T) {
	d := &delivery{target: strings.Repeat("n", 40), reason: deadletter.Exhausted}
	d.progress.Attempts = 1_000_000
	for _, unit := range []string{"x", "ü", `"`, "\x01", "\u2028", "<"} {
		d.progress.Error = strings.Repeat(unit, 1000)
		for _, line := range []string{d.verdict(), d.summary(), "then again: " + d.verdict()} {
			payload, err := DataConverter().ToPayload(summarized(line))
			require.NoError(t, err)
			assert.LessOrEqual(t, proto.Size(payload), summaryLimit+27, "with room for a codec")
			assert.GreaterOrEqual(t, len(payload.GetData()), 250, "and no shorter than need be")
			assert.True(t, utf8.ValidString(summarized(line)))
		}
	}
	assert.Equal(t, "a rejected", summarized("a rejected"))
}
