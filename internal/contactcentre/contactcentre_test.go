package contactcentre

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func TestEventsAreWhatTheySay(t *testing.T) {
	now := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	centre, again := New(7, now), New(7, now)
	formats := make(map[event.Format]int)
	ids := make(map[string]bool)
	for range 500 {
		made := centre.Next()
		assert.Equal(t, made, again.Next(), "the same seed gives the same events")
		read, err := event.Decode(made.Message)
		require.NoError(t, err)
		assert.Equal(t, made.ID, read.ID)
		assert.Equal(t, made.ConversationID, read.InteractionID)
		assert.False(t, read.PublishedAt.IsZero())
		formats[read.Format]++
		ids[made.ID] = true
	}
	assert.Len(t, ids, 500)
	for _, format := range []event.Format{event.Envelope, event.Flat, event.Wrapped} {
		assert.Positive(t, formats[format], format)
	}
}
