package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func TestEventID_EvaluatesTheExpression(t *testing.T) {
	e, err := event.Decode([]byte(`{"event_id":"1001","event_type":"started","interaction":{"id":"i"},"sequence":7,"list":["b","a"]}`))
	require.NoError(t, err)
	for expression, want := range map[string]string{
		`event.id`:                    "1001",
		`event.id + "-" + event.type`: "1001-started",
		`event.interaction_id + ":" + event.status`:           "i:",
		`event.id + "-" + string(payload.sequence)`:           "1001-7",
		`payload.event_id + "/" + payload.event_type`:         "1001/started",
		`string(payload.event_id)`:                            "1001",
		`has(payload.uuid) ? string(payload.uuid) : event.id`: "1001",
		`""`: "",
	} {
		x, errs := ParseEventID(expression)
		require.Empty(t, errs, expression)
		got, err := x.Of(e)
		require.NoError(t, err, expression)
		assert.Equal(t, want, got, expression)
	}
	got, err := (*EventID)(nil).Of(e)
	require.NoError(t, err)
	assert.Equal(t, "1001", got)
	for _, failing := range []string{`event.id + string(payload.absent)`, `string(payload.list)`, `event.id + string(1 / (payload.sequence - 7))`} {
		x, errs := ParseEventID(failing)
		require.Empty(t, errs, failing)
		got, err := x.Of(e)
		require.Error(t, err, failing)
		assert.Empty(t, got)
	}
}

func TestParseEventID_NamesEveryMistake(t *testing.T) {
	for expression, want := range map[string]string{
		``:                           "line 1, column",
		`event.idd`:                  "line 1, column 6: undefined field 'idd'",
		`evnt.id`:                    "undeclared reference to 'evnt'",
		`event.id == "a"`:            "of type bool, not string",
		`payload.id`:                 "of type dyn, not string",
		`event.id + 7`:               "no matching overload",
		"event.id +\nevent.tpye":     "line 2, column 6",
		`event.id + "-" + event.typ`: "undefined field 'typ'",
	} {
		x, errs := ParseEventID(expression)
		assert.Nil(t, x)
		assert.ErrorContains(t, errors.Join(errs...), want, expression)
	}
	_, errs := ParseEventID(`event.idd + event.typ`)
	assert.Len(t, errs, 2)
}

// TestEventID_IsAPureFunction checks that an id depends only on the message, and neither on
// the order of Go's maps nor on the speed of the machine.
func TestEventID_IsAPureFunction(t *testing.T) {
	members := map[string]any{}
	for i := range 50 {
		members[fmt.Sprintf("k%02d", i)] = i
	}
	document, err := json.Marshal(map[string]any{"event_id": "a", "inside": members})
	require.NoError(t, err)
	e, err := event.Decode(document)
	require.NoError(t, err)
	x, errs := ParseEventID(`string(payload.inside.filter(k, payload.inside[k] > 10)[0])`)
	require.Empty(t, errs)
	for range 100 {
		got, err := x.Of(e)
		require.NoError(t, err)
		require.Equal(t, "k11", got)
	}

	large, err := json.Marshal(map[string]any{"event_id": "a", "list": make([]int, 100_000)})
	require.NoError(t, err)
	e, err = event.Decode(large)
	require.NoError(t, err)
	x, errs = ParseEventID(`payload.list.exists(i, i == 1) ? "a" : "b"`)
	require.Empty(t, errs)
	got, err := x.Of(e)
	assert.ErrorContains(t, err, "cost limit")
	assert.Empty(t, got)
}

func TestEventID_OfAHugeWord(t *testing.T) {
	e, err := event.Decode([]byte(`{"event_id":"` + strings.Repeat("\u2028", 300_000) + `"}`))
	require.NoError(t, err)
	x, errs := ParseEventID(`event.id + "-" + event.type`)
	require.Empty(t, errs)
	got, err := x.Of(e)
	require.NoError(t, err)
	assert.Len(t, got, 900_000+len("-unknown"))
}
