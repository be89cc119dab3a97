package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/target"
	"genesys-fanout/workflows"
)

type starterFunc func(context.Context, workflows.Input) (bool, error)

func (f starterFunc) Start(ctx context.Context, in workflows.Input) (bool, error) { return f(ctx, in) }

type healthMap struct {
	mu     sync.Mutex
	checks map[string]error
}

func (h *healthMap) Set(check string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[check] = err
}

// of is the last report on a check; errNotJoined before the first on Kafka.
func (h *healthMap) of(check string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checks[check]
}

func newHealth() *healthMap { return &healthMap{checks: map[string]error{CheckKafka: errNotJoined}} }

// newStarts makes starts for one target that wants voice only.
func newStarts(t *testing.T, starter starterFunc) (*starts, *healthMap) {
	t.Helper()
	set, err := target.Parse("targets.yaml", []byte("targets:\n  - {name: a, url: 'http://a', when: 'event.channel_type == \"voice\"'}\n"), nil)
	require.NoError(t, err)
	health := newHealth()
	options := Options{Targets: set, Starter: starter, Health: health, Log: slog.New(slog.DiscardHandler), SearchAttributes: func() bool { return true }}
	metrics, err := newMetrics(nil, nil)
	require.NoError(t, err)
	return &starts{options: options, metrics: metrics, flight: newFlight(1)}, health
}

var published = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)

func message(value string) *kafka.Message {
	topic := "events"
	return &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: 2, Offset: 42}, Value: []byte(value),
		Timestamp: published, TimestampType: kafka.TimestampCreateTime,
	}
}

const voice = `{"event_id":"evt-1","event_type":"x","interaction":{"id":"i","channel_type":"voice"}}`

func (s *starts) count(result string) float64 {
	return testutil.ToFloat64(s.metrics.started.WithLabelValues(result))
}

func TestHandStartsOneRun(t *testing.T) {
	var got []workflows.Input
	s, _ := newStarts(t, func(_ context.Context, in workflows.Input) (bool, error) {
		got = append(got, in)
		return len(got) == 1, nil
	})
	require.NoError(t, s.hand(t.Context(), message(voice)))
	require.NoError(t, s.hand(t.Context(), message(voice)))
	require.Len(t, got, 2)
	in := got[0]
	assert.Equal(t, "evt-1", in.Event.ID)
	assert.Equal(t, published, in.Event.PublishedAt, "Kafka's timestamp where the event has none")
	assert.Equal(t, voice, string(in.Body))
	assert.Equal(t, event.Source{Topic: "events", Partition: 2, Offset: 42}, in.Source)
	assert.True(t, in.SearchAttributes)
	require.Len(t, in.Targets, 1)
	assert.InDelta(t, 1, s.count("started"), 0)
	assert.InDelta(t, 1, s.count("duplicate"), 0)
	assert.InDelta(t, 2, testutil.ToFloat64(s.metrics.consumed.WithLabelValues("flat")), 0)
}

func TestHandLeavesOutATimestampThatIsNone(t *testing.T) {
	s, _ := newStarts(t, nil)
	m := message(voice)
	m.Timestamp = time.UnixMilli(1 << 60)
	in, _ := s.input(m)
	assert.True(t, in.Event.PublishedAt.IsZero())
}

func TestHandStartsNothingThatNoTargetWants(t *testing.T) {
	s, _ := newStarts(t, func(context.Context, workflows.Input) (bool, error) {
		t.Error("a run was started")
		return true, nil
	})
	require.NoError(t, s.hand(t.Context(), message(`{"event_id":"evt-1"}`)))
	assert.InDelta(t, 1, s.count("unmatched"), 0)
}

func TestHandKeepsWhatIsNoJSON(t *testing.T) {
	for _, value := range []string{"{", ""} {
		var got workflows.Input
		s, _ := newStarts(t, func(_ context.Context, in workflows.Input) (bool, error) { got = in; return true, nil })
		require.NoError(t, s.hand(t.Context(), message(value)))
		require.NotNil(t, got.Undeliverable)
		assert.Equal(t, deadletter.Undecodable, got.Undeliverable.Reason)
		assert.Equal(t, event.UndecodableID(got.Source), got.Event.ID)
		assert.Equal(t, value, string(got.Body))
		assert.Empty(t, got.Targets)
		assert.InDelta(t, 1, s.count("undecodable"), 0)
	}
}

// TestHandStartsWhatIsTooLargeAsOversize: for its content a message is refused
// once; what is left of it is tried until Temporal has it.
func TestHandStartsWhatIsTooLargeAsOversize(t *testing.T) {
	for _, value := range []string{voice, "{"} {
		synctest.Test(t, func(t *testing.T) {
			var got []workflows.Input
			s, _ := newStarts(t, func(_ context.Context, in workflows.Input) (bool, error) {
				got = append(got, in)
				if len(got) < 4 {
					return false, &workflows.ContentError{Err: errors.New("2 MiB"), Size: true}
				}
				return true, nil
			})
			require.NoError(t, s.hand(t.Context(), message(value)))
			require.Len(t, got, 4)
			assert.Equal(t, got[0].Event, got[1].Event, "its own id")
			for _, in := range got[1:] {
				assert.Equal(t, deadletter.Oversize, in.Undeliverable.Reason)
				assert.Contains(t, in.Undeliverable.Error, "2 MiB")
				assert.Empty(t, in.Body)
				assert.Empty(t, in.Targets)
				assert.EqualValues(t, 42, in.Source.Offset)
			}
			assert.InDelta(t, 1, s.count("oversize"), 0)
		})
	}
}

// TestHandGivesUpSearchAttributesBeforeThePayload: a frontend that does not know
// our search attributes refuses every start, whatever the message holds.
func TestHandGivesUpSearchAttributesBeforeThePayload(t *testing.T) {
	s, _ := newStarts(t, func(_ context.Context, in workflows.Input) (bool, error) {
		if in.SearchAttributes {
			return false, &workflows.ContentError{Err: serviceerror.NewInvalidArgument("no mapping defined for search attribute EventType")}
		}
		assert.Nil(t, in.Undeliverable)
		assert.Equal(t, voice, string(in.Body))
		return true, nil
	})
	require.NoError(t, s.hand(t.Context(), message(voice)))
	assert.InDelta(t, 1, s.count("started"), 0)
}

// TestOneMessageThatIsRefusedForEverShows although others are started.
func TestOneMessageThatIsRefusedForEverShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, health := newStarts(t, func(_ context.Context, in workflows.Input) (bool, error) {
			if in.Event.ID == "poisoned" {
				return false, &workflows.ContentError{Err: serviceerror.NewInvalidArgument("never")}
			}
			return true, nil
		})
		var lines logLines
		s.options.Log = slog.New(slog.NewTextHandler(&lines, nil))
		ended := make(chan error)
		go func() {
			ended <- s.hand(ctx, message(`{"event_id":"poisoned","interaction":{"channel_type":"voice"}}`))
		}()
		for range 300 { // five minutes
			<-time.After(time.Second)
			require.NoError(t, s.hand(ctx, message(voice)))
			require.Error(t, health.of(CheckStarts))
		}
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.NoError(t, health.of(CheckStarts))
		assert.InDelta(t, 12, lines.count(), 2, "one line each 30 s, and one each for oversize and the end")
	})
}

type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (c *logLines) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, string(p))
	return len(p), nil
}

func (c *logLines) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines)
}

// TestHandWaitsForTemporal: whatever Temporal says, the message is not skipped.
func TestHandWaitsForTemporal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		s, health := newStarts(t, nil)
		s.options.Starter = starterFunc(func(context.Context, workflows.Input) (bool, error) {
			tries++
			if time.Since(began) < time.Hour {
				return false, serviceerror.NewUnavailable("away")
			}
			require.Error(t, health.of(CheckStarts), "not ready meanwhile")
			return true, nil
		})
		require.NoError(t, s.hand(t.Context(), message(voice)))
		assert.NoError(t, health.of(CheckStarts))
		assert.Less(t, tries, 1000, "with a backoff")
	})
}

func TestHandEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := newStarts(t, func(context.Context, workflows.Input) (bool, error) {
		cancel()
		return false, serviceerror.NewUnavailable("away")
	})
	require.ErrorIs(t, s.hand(ctx, message(voice)), context.Canceled)
}
