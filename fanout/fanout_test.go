package fanout

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
	"genesys-fanout/target"
)

func TestNames_OfQueuesWorkflowsAndReservedTargets(t *testing.T) {
	assert.Equal(t, "event-evt%201", WorkflowID("evt 1"))
	assert.Equal(t, "genesys-fanout/target/a", TargetQueue(DefaultTaskQueue, "a"))
	assert.Equal(t, "genesys-fanout/dead-letter", DeadLetterQueue(DefaultTaskQueue))
	for reason, want := range map[event.Reason]string{
		event.ReasonUndecodable: event.UndecodableTarget, event.ReasonOversize: event.OversizeTarget, event.ReasonConflict: event.ConflictTarget,
	} {
		assert.Equal(t, want, (&Undeliverable{Reason: reason}).Target())
	}
}

// Operators write filters with these names and types. A start uses no other attribute.
func TestSearchAttributes_HaveTheirRegisteredNamesAndTypes(t *testing.T) {
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
	started := StartOptions(Input{Message: event.Message{Event: event.Event{ID: "a", Type: "b", InteractionID: "c", ChannelType: "d"}}, SearchAttributes: true}, "", false).TypedSearchAttributes
	assert.Equal(t, 3, started.Size())
	for key := range started.GetUntypedValues() {
		assert.Contains(t, types, key.GetName())
	}
}

// The input with a message of 1 MiB stays below Temporal's limit, whatever the bytes of the message
// are.
func TestInput_WithAMessageOf1MiBFitsIntoOnePayload(t *testing.T) {
	const limit = 19 << 20 / 10
	for name, unit := range map[string]string{
		"markup": "<>&", "quotes": `"`, "backslashes": `\`, "control": "\x01", "invalid": "\xff", "separators": "\u2028", "wide": "😀", "plain": "a",
	} {
		body := strings.Repeat(unit, 1<<20/len(unit))
		payload, err := DataConverter().ToPayload(Input{Message: event.Message{Body: event.Body(body)}, Targets: make([]target.Policy, 100)})
		require.NoError(t, err)
		assert.Less(t, len(payload.GetData()), limit, name)
		var back Input
		require.NoError(t, DataConverter().FromPayload(payload, &back))
		assert.Equal(t, body, string(back.Body), name)
	}
}

// People can read the input in Temporal UI, and copy it into a run that they start by hand.
func TestInput_IsReadableJSON(t *testing.T) {
	in := Input{
		Message: event.Message{Event: event.Event{ID: "evt-1", Type: "conversation.started"}, Body: event.Body(`{"a":"<b>"}`)},
		Targets: []target.Policy{target.Policy{Target: "analytics-service"}.Normalized()},
	}
	payload, err := DataConverter().ToPayload(in)
	require.NoError(t, err)
	assert.Equal(t, `{"event":{"id":"evt-1","type":"conversation.started"},"body":"{\"a\":\"<b>\"}",`+
		`"targets":[{"target":"analytics-service","max_attempts":3,`+
		`"backoff":{"initial":"2s","multiplier":2,"max":"5m0s"},"timeout":"5s","max_retry_after":"15m0s","max_age":"24h0m0s","fast_lane":false}],`+
		`"search_attributes":false}`, string(payload.GetData()))
	escaped, err := json.Marshal(in) // another client escapes HTML
	require.NoError(t, err)
	payload.Data = escaped
	var back Input
	require.NoError(t, DataConverter().FromPayload(payload, &back))
	assert.Equal(t, in, back)
}

// The input has no message. However long the event's words are, Temporal gets only their
// beginnings, but the names of the run are made of the whole words.
func TestStart_NamesTheRunByTheEventsOwnWords(t *testing.T) {
	long := strings.Repeat("\u2028", 300_000)
	in := Input{
		Message:          event.Message{Event: event.Event{ID: long, Type: long + "t", InteractionID: long + "i", ChannelType: long + "c", Status: long + "s"}, Source: event.Source{Topic: strings.Repeat("t", 249), Partition: 1, Offset: 2}},
		Undeliverable:    &Undeliverable{Reason: event.ReasonOversize, Error: "too large"},
		SearchAttributes: true,
	}
	for _, options := range []client.StartWorkflowOptions{StartOptions(in, "q", true), ReplayOptions(in, "q", nil)} {
		assert.Equal(t, "event-"+event.Escape(long), options.ID)
		assert.Equal(t, in.Event.Hash(), options.Memo[MemoEventHash])
		assert.LessOrEqual(t, len(options.StaticSummary), 400)
		assert.LessOrEqual(t, len(options.StaticDetails), 1000)
		for key, want := range map[temporal.SearchAttributeKeyKeyword]string{EventTypeKey: long + "t", InteractionIDKey: long + "i", ChannelTypeKey: long + "c"} {
			got, ok := options.TypedSearchAttributes.GetKeyword(key)
			assert.True(t, ok)
			assert.Equal(t, event.Escape(want), got)
		}
	}
	var started Input
	_, err := Start(t.Context(), recordingClient{started: &started}, StartOptions(in, "q", false), in)
	require.NoError(t, err)
	assert.Equal(t, in.Event.Cut(), started.Event)
	assert.Equal(t, in.Source, started.Source)
	assert.Equal(t, event.Escape(long), started.Event.ID)
	assert.Equal(t, SearchAttributes(in), SearchAttributes(started), "a copy that is started by hand has the same")

	// If Temporal accepts the message, its words are not cut.
	in.Undeliverable, in.Body, in.Event = nil, event.Body("{}"), event.Event{ID: strings.Repeat("ü", 1000), Type: strings.Repeat("t", 1000)}
	_, err = Start(t.Context(), recordingClient{started: &started}, StartOptions(in, "q", false), in)
	require.NoError(t, err)
	assert.Equal(t, in.Event, started.Event)
}

// recordingClient is a client that stores the input of a start.
type recordingClient struct {
	client.Client
	started *Input
}

func (c recordingClient) ExecuteWorkflow(_ context.Context, _ client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	raw, _ := args[0].(converter.RawValue)
	*c.started = Input{}
	return nil, DataConverter().FromPayload(raw.Payload(), c.started)
}

// The names have every possible length.
func TestFittingTargets_KeepsTheAttributeBelowTheServersLimit(t *testing.T) {
	names := func(letters, n int) (list []string) {
		for i := range n {
			list = append(list, strings.Repeat("n", letters-3)+fmt.Sprintf("%03d", i))
		}
		return list
	}
	assert.Empty(t, FittingTargets(nil))
	assert.Equal(t, []string{"a", "b"}, FittingTargets([]string{"a", "b"}))
	assert.Equal(t, []string{MoreTargets}, FittingTargets([]string{strings.Repeat("n", 1900)}), "written by hand")
	assert.Equal(t, names(40, 44), FittingTargets(names(40, 44)), "1,893 bytes")
	assert.Equal(t, append(names(40, 44), MoreTargets), FittingTargets(names(40, 45)))
	for letters := 3; letters <= 40; letters++ {
		for n := 1; n <= 100; n++ {
			all := names(letters, n)
			got := FittingTargets(all)
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
			require.Equal(t, append(all[:fit:fit], MoreTargets), got)
			require.Greater(t, size(append(all[:fit+1:fit+1], MoreTargets)), 1900, "one more would fit")
		}
	}
}
