package contactcentre

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

var opening = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)

func TestNext_EventsMatchTheirMessages(t *testing.T) {
	centre, again := New(7, opening), New(7, opening)
	formats := make(map[event.Format]int)
	channels := make(map[string]int)
	ids := make(map[string]bool)
	before := opening
	for range 3000 {
		made := centre.Next()
		require.Equal(t, made, again.Next(), "the same seed gives the same events")
		read, err := event.Decode(made.Message)
		require.NoError(t, err)
		require.Equal(t, made.ID, read.ID)
		require.Equal(t, made.ConversationID, read.InteractionID)
		require.WithinDuration(t, made.At, read.PublishedAt, time.Second)
		require.False(t, made.At.Before(before), "events are ordered by time")
		before = made.At
		formats[read.Format]++
		channels[read.ChannelType]++
		ids[made.ID] = true
	}
	assert.Len(t, ids, 3000)
	for _, format := range []event.Format{event.Envelope, event.Flat, event.Wrapped} {
		assert.Positive(t, formats[format], format)
	}
	for _, channel := range []string{"voice", "message", "email", "chat", "callback", ""} {
		assert.Positive(t, channels[channel], channel)
	}
	assert.InDelta(t, 5.5, 3000/before.Sub(opening).Seconds(), 1.5, "events a second")
}

// Each conversation must follow one of the scenarios from its first event to its last.
func TestNext_ConversationsFollowTheirScenario(t *testing.T) {
	centre := New(1, opening)
	seen := make(map[string][]string)
	for range 3000 {
		made := centre.Next()
		if made.ConversationID != "" {
			seen[made.ConversationID] = append(seen[made.ConversationID], kindOf(t, made))
		}
	}
	complete := 0
	for id, events := range seen {
		require.True(t, slices.ContainsFunc(scenarios, func(c scenario) bool {
			return len(events) <= len(c.events) && slices.Equal(events, c.events[:len(events)])
		}), "%s: %v", id, events)
		if events[len(events)-1] == "customer.end" {
			complete++
		}
	}
	assert.Greater(t, complete, 100)
}

// kindOf returns the last part of an event's topic.
func kindOf(t *testing.T, e Event) string {
	t.Helper()
	read, err := event.Decode(e.Message)
	require.NoError(t, err)
	kind := strings.TrimPrefix(read.Type, "conversation.")
	if kind == "v2.conversations.{id}.transcription" {
		return "transcription"
	}
	return strings.TrimPrefix(kind, "v2.detail.events.conversation.{id}.")
}

// A generated envelope must have the same members as the shape of its topic, with the
// same JSON types.
func TestEnvelope_HasTheShapeOfItsTopic(t *testing.T) {
	centre := New(2, opening)
	kinds := slices.Clone(otherTopics)
	for _, one := range scenarios {
		kinds = append(kinds, one.events...)
		conv := &conversation{scenario: one, id: centre.uuid(), ids: map[string]string{}}
		for _, kind := range one.events {
			assert.Equal(t, structure(loadShape(shapeFile(conv, kind))), structure(parse(t, centre.envelope(conv, kind, Event{At: opening}))), kind)
		}
	}
	for _, kind := range otherTopics {
		assert.Equal(t, structure(loadShape("envelope."+kind+".json")), structure(parse(t, centre.envelope(nil, kind, Event{At: opening}))), kind)
	}
	slices.Sort(kinds)
	assert.Len(t, slices.Compact(kinds), 19, "the scenarios use every topic family")
}

func parse(t *testing.T, message []byte) map[string]any {
	t.Helper()
	var value map[string]any
	require.NoError(t, json.Unmarshal(message, &value))
	return value
}

// structure replaces each string and number by the name of its type. It leaves out the
// attributes of a flow and the words of a transcription, because their number varies.
func structure(value any) any {
	switch v := value.(type) {
	case map[string]any:
		shaped := maps.Clone(v)
		for name, inner := range shaped {
			switch shaped[name] = structure(inner); name {
			case "attributes", "words", "decoratedWords":
				shaped[name] = "varies"
			case "transcripts":
				utterances, _ := shaped[name].([]any)
				shaped[name] = utterances[:1]
			}
		}
		return shaped
	case []any:
		shaped := make([]any, len(v))
		for i := range v {
			shaped[i] = structure(v[i])
		}
		return shaped
	case string:
		return "text"
	case json.Number, float64:
		return "number"
	}
	return value
}

// Most events must be small and a few large, but none larger than EventBridge's old
// limit of 256 KB (it is 1 MB since 2026-01).
func TestNext_MessageSizes(t *testing.T) {
	centre := New(3, opening)
	var sizes []int
	for range 5000 {
		sizes = append(sizes, len(centre.Next().Message))
	}
	slices.Sort(sizes)
	assert.InDelta(t, 900, sizes[len(sizes)/2], 200, "the median")
	assert.Greater(t, sizes[len(sizes)-1], 5_000)
	assert.Less(t, sizes[len(sizes)-1], 256<<10)
}
