package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

type starterFunc func(context.Context, fanout.Input) (bool, error)

func (f starterFunc) Start(ctx context.Context, input fanout.Input) (bool, error) {
	return f(ctx, input)
}

type healthMap struct {
	mu     sync.Mutex
	checks map[string]error
}

func (h *healthMap) Set(check string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[check] = err
}

// of returns the last state of a check. That of Kafka is errNotJoined at first.
func (h *healthMap) of(check string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checks[check]
}

func newHealth() *healthMap { return &healthMap{checks: map[string]error{CheckKafka: errNotJoined}} }

// testStarter is a starter with a limiter.
type testStarter struct {
	*messageStarter
	limiter *limiter
	health  *healthMap
	log     *logLines
}

// newTestStarter returns a starter with one target, which wants only voice.
func newTestStarter(t *testing.T, server starterFunc) testStarter {
	t.Helper()
	set, err := target.Parse("targets.yaml", []byte(`
targets:
  - name: a
    url: http://a
    when: event.channel_type == "voice"
`), nil)
	require.NoError(t, err)
	health, lines := newHealth(), &logLines{}
	options := Options{
		Targets: set, Starter: server, Health: health, Log: slog.New(slog.NewTextHandler(lines, nil)),
		SearchAttributes: func() bool { return true },
	}
	metrics, err := newMetrics(nil, nil)
	require.NoError(t, err)
	return testStarter{newMessageStarter(options, metrics), newLimiter(16), health, lines}
}

// startMessage starts the run of a message as soon as there is a free slot.
func (s testStarter) startMessage(ctx context.Context, m *kafka.Message) error {
	permit, ok := s.limiter.acquire(ctx, time.Minute)
	if !ok {
		return errors.New("no free slot")
	}
	defer permit.release()
	return s.start(ctx, m, permit)
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

func (s *messageStarter) count(result string) float64 {
	return testutil.ToFloat64(s.metrics.started.WithLabelValues(result))
}

func TestStart_StartsOneRunForAnEvent(t *testing.T) {
	var got []fanout.Input
	s := newTestStarter(t, func(_ context.Context, input fanout.Input) (bool, error) {
		got = append(got, input)
		return len(got) == 1, nil
	})
	require.NoError(t, s.startMessage(t.Context(), message(voice)))
	require.NoError(t, s.startMessage(t.Context(), message(voice)))
	require.Len(t, got, 2)
	input := got[0]
	assert.Equal(t, "evt-1", input.Event.ID)
	assert.Equal(t, published, input.Event.PublishedAt, "Kafka's timestamp if the event has none")
	assert.Equal(t, voice, string(input.Body))
	assert.Equal(t, event.Source{Topic: "events", Partition: 2, Offset: 42}, input.Source)
	assert.True(t, input.SearchAttributes)
	require.Len(t, input.Targets, 1)
	assert.InDelta(t, 1, s.count("started"), 0)
	assert.InDelta(t, 1, s.count("duplicate"), 0)
	assert.InDelta(t, 2, testutil.ToFloat64(s.metrics.consumed.WithLabelValues("flat")), 0)
}

func TestInput_OmitsATimestampThatJSONCannotRepresent(t *testing.T) {
	s := newTestStarter(t, nil)
	m := message(voice)
	m.Timestamp = time.UnixMilli(1 << 60)
	input, _ := s.inputOf(m)
	assert.True(t, input.Event.PublishedAt.IsZero())
}

func TestStart_StartsNoRunThatNoTargetWants(t *testing.T) {
	s := newTestStarter(t, func(context.Context, fanout.Input) (bool, error) {
		t.Error("a run was started")
		return true, nil
	})
	require.NoError(t, s.startMessage(t.Context(), message(`{"event_id":"evt-1"}`)))
	assert.InDelta(t, 1, s.count("unmatched"), 0)
}

func TestStart_StartsAnUndecodableMessage(t *testing.T) {
	for _, value := range []string{"{", ""} {
		var got fanout.Input
		s := newTestStarter(t, func(_ context.Context, input fanout.Input) (bool, error) { got = input; return true, nil })
		require.NoError(t, s.startMessage(t.Context(), message(value)))
		require.NotNil(t, got.Undeliverable)
		assert.Equal(t, event.ReasonUndecodable, got.Undeliverable.Reason)
		assert.Equal(t, event.Undecodable(got.Source, published, nil, []byte(value)).ID, got.Event.ID)
		assert.Equal(t, value, string(got.Body))
		assert.Empty(t, got.Targets)
		assert.InDelta(t, 1, s.count("undecodable"), 0)
	}
}

// The run has the message's own identity.
func TestStart_StartsAMessageThatIsTooLargeAsOversize(t *testing.T) {
	for _, value := range []string{voice, "{"} {
		var got []fanout.Input
		s := newTestStarter(t, func(_ context.Context, input fanout.Input) (bool, error) {
			got = append(got, input)
			if len(input.Body) > 0 {
				return false, &fanout.ContentError{Err: errors.New("2 MiB " + strings.Repeat("ü", 10_000)), TooLarge: true}
			}
			return true, nil
		})
		require.NoError(t, s.startMessage(t.Context(), message(value)))
		require.Len(t, got, 2)
		assert.Equal(t, got[0].Event, got[1].Event)
		assert.Equal(t, got[0].Source, got[1].Source)
		assert.Equal(t, event.ReasonOversize, got[1].Undeliverable.Reason)
		assert.Contains(t, got[1].Undeliverable.Error, "2 MiB")
		assert.Less(t, len(got[1].Undeliverable.Error), 2<<10)
		assert.Empty(t, got[1].Targets)
		assert.True(t, got[1].SearchAttributes)
		if value == "{" {
			assert.Contains(t, got[1].Undeliverable.Error, event.ErrUndecodable.Error(), "it is both")
		}
		assert.InDelta(t, 1, s.count("oversize"), 0)
	}
}

// If Temporal rejects even the words that identify a message, the message is not the cause. It
// waits, and nothing is left out of it later.
func TestStart_StartsTheWholeMessageOnceTemporalAcceptsAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestStarter(t, nil)
		began := time.Now()
		var forms []string // of the first try
		s.options.Starter = starterFunc(func(_ context.Context, input fanout.Input) (bool, error) {
			if time.Since(began) >= 10*time.Minute {
				require.ErrorContains(t, s.health.of(CheckStarts), "never", "not ready meanwhile")
				assert.Nil(t, input.Undeliverable)
				assert.Equal(t, voice, string(input.Body))
				return true, nil
			}
			if time.Since(began) == 0 {
				forms = append(forms, fmt.Sprintf("message: %t, search attributes: %t", len(input.Body) > 0, input.SearchAttributes))
			}
			return false, &fanout.ContentError{Err: serviceerror.NewInvalidArgument("never")}
		})
		require.NoError(t, s.startMessage(t.Context(), message(voice)))
		assert.Equal(t, []string{
			"message: true, search attributes: true", "message: true, search attributes: false",
			"message: false, search attributes: true", "message: false, search attributes: false",
		}, forms)
		assert.InDelta(t, 1, s.count("started"), 0)
		assert.Zero(t, s.count("oversize"))
		assert.NoError(t, s.health.of(CheckStarts))
		// A line comes with the first try after 30 s, and two tries are up to 7.5 s apart.
		assert.GreaterOrEqual(t, s.log.count(), int(10*time.Minute/(37500*time.Millisecond))+1, "one line each 30 s, and one at the end")
		assert.LessOrEqual(t, s.log.count(), int(10*time.Minute/(30*time.Second))+2)
	})
}

// A frontend that does not know our search attributes rejects every start, whatever the
// message contains.
func TestStart_LeavesOutSearchAttributesBeforeThePayload(t *testing.T) {
	s := newTestStarter(t, func(_ context.Context, input fanout.Input) (bool, error) {
		if input.SearchAttributes {
			return false, &fanout.ContentError{Err: serviceerror.NewInvalidArgument("no mapping defined for search attribute EventType")}
		}
		assert.Nil(t, input.Undeliverable)
		assert.Equal(t, voice, string(input.Body))
		return true, nil
	})
	require.NoError(t, s.startMessage(t.Context(), message(voice)))
	assert.InDelta(t, 1, s.count("started"), 0)
}

func TestStart_ReportsOneRejectedMessageAlthoughOthersAreAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newTestStarter(t, func(_ context.Context, input fanout.Input) (bool, error) {
			if input.Event.ID == "poisoned" {
				return false, &fanout.ContentError{Err: serviceerror.NewInvalidArgument("never")}
			}
			return true, nil
		})
		ended := make(chan error)
		go func() {
			ended <- s.startMessage(ctx, message(`{"event_id":"poisoned","interaction":{"channel_type":"voice"}}`))
		}()
		for range 300 { // five minutes
			<-time.After(time.Second)
			require.NoError(t, s.startMessage(ctx, message(voice)))
			require.Error(t, s.health.of(CheckStarts))
		}
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.NoError(t, s.health.of(CheckStarts))
		assert.InDelta(t, 10, s.log.count(), 1, "one line each 30 s")
		assert.NotContains(t, s.log.text(), "accepts runs again", "the message was never accepted")
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

// Whatever Temporal answers, the message is not skipped.
func TestStart_WaitsForTemporal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		s := newTestStarter(t, nil)
		s.options.Starter = starterFunc(func(context.Context, fanout.Input) (bool, error) {
			tries++
			if time.Since(began) < time.Hour {
				return false, serviceerror.NewUnavailable("away")
			}
			require.Error(t, s.health.of(CheckStarts), "not ready meanwhile")
			return true, nil
		})
		require.NoError(t, s.startMessage(t.Context(), message(voice)))
		assert.NoError(t, s.health.of(CheckStarts))
		assert.Less(t, tries, 1000, "there is a backoff")
	})
}

// conflicted rejects events with one id as conflicts with another event.
func conflicted(id string) starterFunc {
	return func(_ context.Context, input fanout.Input) (bool, error) {
		if input.Event.ID == id {
			return false, &ConflictError{WorkflowID: fanout.WorkflowID(id), RunID: "run-1", Event: input.Event, Other: event.Event{Type: "other"}}
		}
		return true, nil
	}
}

func TestStart_StartsAConflictIfTheIDBelongsToAnotherEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got fanout.Input
		s := newTestStarter(t, func(ctx context.Context, input fanout.Input) (bool, error) {
			got = input
			return conflicted("evt-1")(ctx, input)
		})
		for range 90 {
			require.NoError(t, s.startMessage(t.Context(), message(voice)))
			<-time.After(time.Second)
		}
		decoded, err := event.Decode([]byte(voice))
		require.NoError(t, err)
		assert.Equal(t, decoded.ContentID(), got.Event.ID)
		assert.Equal(t, "x", got.Event.Type)
		assert.Equal(t, voice, string(got.Body))
		assert.Empty(t, got.Targets)
		assert.Equal(t, event.ReasonConflict, got.Undeliverable.Reason)
		for _, part := range []string{"event id evt-1", "run run-1 of workflow event-evt-1", "type other and no interaction", "type x and interaction i", "FANOUT_EVENT_ID"} {
			assert.Contains(t, got.Undeliverable.Error, part)
		}
		assert.InDelta(t, 90, s.count("conflict"), 0)
		assert.NoError(t, s.health.of(CheckStarts))
		assert.Equal(t, 3, s.log.count(), "one line in 30 s")
		assert.Contains(t, s.log.text(), "level=WARN")
		assert.Contains(t, s.log.text(), "times=30")
	})
}

// The run is still one of a conflict.
func TestStart_StartsAConflictThatIsTooLargeWithoutItsMessage(t *testing.T) {
	var got fanout.Input
	s := newTestStarter(t, func(ctx context.Context, input fanout.Input) (bool, error) {
		got = input
		if len(input.Body) > 0 {
			return false, &fanout.ContentError{Err: errors.New("2 MiB"), TooLarge: true}
		}
		return conflicted("evt-1")(ctx, input)
	})
	require.NoError(t, s.startMessage(t.Context(), message(voice)))
	assert.NotEqual(t, "evt-1", got.Event.ID)
	assert.Equal(t, event.ReasonConflict, got.Undeliverable.Reason)
	for _, part := range []string{"belongs to another event", "2 MiB", "kept only in Kafka"} {
		assert.Contains(t, got.Undeliverable.Error, part)
	}
}

// FANOUT_EVENT_ID is evaluated before targets are chosen.
func TestStart_IdentifiesEventsByTheExpression(t *testing.T) {
	var got fanout.Input
	s := newTestStarter(t, func(_ context.Context, input fanout.Input) (bool, error) { got = input; return true, nil })
	var err error
	s.options.Targets, err = target.Parse("targets.yaml", []byte(`
targets:
  - name: a
    url: http://a
    when: event.id == "evt-1-x" && payload.event_id == "evt-1"
  - name: b
    url: http://b
    when: event.id != "evt-1-x"
`), nil)
	require.NoError(t, err)
	identify := func(expression, value string) fanout.Input {
		x, errs := target.ParseEventID(expression)
		require.Empty(t, errs)
		s.options.EventID = x
		require.NoError(t, s.startMessage(t.Context(), message(value)))
		return got
	}
	input := identify(`event.id + "-" + event.type`, voice)
	assert.Equal(t, "evt-1-x", input.Event.ID)
	require.Len(t, input.Targets, 1)
	assert.Equal(t, "a", input.Targets[0].Target)
	assert.False(t, input.Event.IdentifiedByContent())

	decoded, err := event.Decode([]byte(voice))
	require.NoError(t, err)
	for _, none := range []string{`""`, `event.id + string(payload.absent)`, `event.id + "\uFFFD"`} {
		input = identify(none, voice)
		assert.Equal(t, decoded.ContentID(), input.Event.ID, none)
		assert.True(t, input.Event.IdentifiedByContent())
	}
	const bare = `{"event_type":"x"}`
	input = identify(`event.id + "-" + event.type`, bare)
	decoded, err = event.Decode([]byte(bare))
	require.NoError(t, err)
	assert.Equal(t, decoded.ContentID()+"-x", input.Event.ID, "the expression gets the identity of the content")
	assert.True(t, identify(`event.id`, bare).Event.IdentifiedByContent())
	assert.Equal(t, event.Undecodable(input.Source, published, nil, []byte("{")).ID, identify(`"a"`, "{").Event.ID)
}

func TestStart_StartsNoRunForATombstone(t *testing.T) {
	s := newTestStarter(t, func(context.Context, fanout.Input) (bool, error) {
		t.Error("a run was started")
		return true, nil
	})
	m := message("")
	m.Value = nil
	require.NoError(t, s.startMessage(t.Context(), m))
	assert.InDelta(t, 1, testutil.ToFloat64(s.metrics.consumed.WithLabelValues("tombstone")), 0)
}

// Starts that find their event's run raise the number of starts in flight like others.
func TestStart_DuplicatesAreAsFastAsTemporalAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency, duplicates, most = 10 * time.Millisecond, 20_000, 64
		s := newTestStarter(t, func(context.Context, fanout.Input) (bool, error) {
			<-time.After(latency)
			return false, nil
		})
		s.limiter = newLimiter(most)
		began := time.Now()
		var all sync.WaitGroup
		for range duplicates {
			permit, ok := s.limiter.acquire(t.Context(), time.Minute)
			require.True(t, ok, "a slot becomes free")
			all.Go(func() {
				defer permit.release()
				assert.NoError(t, s.start(t.Context(), message(voice), permit))
			})
		}
		all.Wait()
		assert.InDelta(t, most, s.limiter.vegas.allowed(), 0)
		fastest := duplicates / most * latency
		assert.Less(t, time.Since(began), 2*fastest, "with the fewest in flight it takes 16 times as long")
	})
}

func TestStart_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newTestStarter(t, func(context.Context, fanout.Input) (bool, error) {
		cancel()
		return false, serviceerror.NewUnavailable("away")
	})
	require.ErrorIs(t, s.startMessage(ctx, message(voice)), context.Canceled)
}
