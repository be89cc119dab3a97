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

func TestEventsAreWhatTheySay(t *testing.T) {
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
		require.False(t, made.At.Before(before), "in the order of time")
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
	assert.InDelta(t, 3000/before.Sub(opening).Seconds(), 5.5, 1.5, "events a second")
}

// TestConversationsHappenInOrder: each follows one of the courses, from its first
// event to its last.
func TestConversationsHappenInOrder(t *testing.T) {
	centre := New(1, opening)
	seen := make(map[string][]string)
	for range 3000 {
		made := centre.Next()
		if made.ConversationID != "" {
			seen[made.ConversationID] = append(seen[made.ConversationID], kindOf(t, made))
		}
	}
	whole := 0
	for id, events := range seen {
		require.True(t, slices.ContainsFunc(courses, func(c course) bool {
			return len(events) <= len(c.events) && slices.Equal(events, c.events[:len(events)])
		}), "%s: %v", id, events)
		if events[len(events)-1] == "customer.end" {
			whole++
		}
	}
	assert.Greater(t, whole, 100)
}

// kindOf is the ending of an event's topic.
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

// TestEventsHaveTheShapeOfTheirTopic: the same members, of the same types.
func TestEventsHaveTheShapeOfTheirTopic(t *testing.T) {
	centre := New(2, opening)
	kinds := slices.Clone(others)
	for _, one := range courses {
		kinds = append(kinds, one.events...)
		talk := &conversation{course: one, id: centre.uuid(), ids: map[string]string{}}
		for _, kind := range one.events {
			assert.Equal(t, structure(shape(shapeOf(talk, kind))), structure(parse(t, centre.envelope(talk, kind, Event{At: opening}))), kind)
		}
	}
	for _, kind := range others {
		assert.Equal(t, structure(shape("envelope."+kind+".json")), structure(parse(t, centre.envelope(nil, kind, Event{At: opening}))), kind)
	}
	slices.Sort(kinds)
	assert.Len(t, slices.Compact(kinds), 19, "all topic families happen")
}

func parse(t *testing.T, message []byte) map[string]any {
	t.Helper()
	var value map[string]any
	require.NoError(t, json.Unmarshal(message, &value))
	return value
}

// structure is a value with its types instead of its texts and numbers. What a
// flow sets and what is said differs in length.
func structure(value any) any {
	switch v := value.(type) {
	case map[string]any:
		shaped := maps.Clone(v)
		for name, inner := range shaped {
			switch shaped[name] = structure(inner); name {
			case "attributes", "words", "decoratedWords":
				shaped[name] = "varies"
			case "transcripts":
				said, _ := shaped[name].([]any)
				shaped[name] = said[:1]
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

// TestSizes: most events are small, a few are not, and none is too large for
// EventBridge, which takes 1 MB at most, or 256 KB for long.
func TestSizes(t *testing.T) {
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
