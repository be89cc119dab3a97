package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/workflows"
)

// Starter starts a run. Both its errors beside those that may pass are named.
type Starter interface {
	// Start starts FanOut for the event, or finds that it was started before
	// (false). *TooLargeError means that this input can never be started; any other
	// error may pass.
	Start(ctx context.Context, in workflows.Input) (started bool, err error)
}

// TooLargeError says that Temporal does not take the input.
type TooLargeError struct{ Err error }

// Error is what is too large.
func (e *TooLargeError) Error() string { return e.Err.Error() }

// Unwrap gives Temporal's answer, where it was asked.
func (e *TooLargeError) Unwrap() error { return e.Err }

const (
	firstStartRetry   = 100 * time.Millisecond
	longestStartRetry = 5 * time.Second
)

// starts turns messages into runs.
type starts struct {
	options Options
	metrics *metrics
	refused refusals
}

// hand gives one message to Temporal. It returns nil once Temporal holds it, or
// when no target wants it; an error only when ctx ends first.
func (s *starts) hand(ctx context.Context, m *kafka.Message) error {
	in, format := s.input(m)
	s.metrics.consumed.WithLabelValues(format).Inc()
	if in.Undeliverable == nil && len(in.Targets) == 0 {
		s.metrics.started.WithLabelValues("unmatched").Inc()
		return nil
	}
	retry := firstStartRetry
	for {
		started, err := s.options.Starter.Start(ctx, in)
		if err == nil {
			s.metrics.started.WithLabelValues(result(in, started)).Inc()
			s.refused.over(s.options)
			return nil
		}
		var tooLarge *TooLargeError
		if errors.As(err, &tooLarge) && (in.Undeliverable == nil || in.Undeliverable.Reason != deadletter.Oversize) {
			in = oversize(in, err)
			continue
		}
		s.refused.report(s.options, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry + rand.N(retry/2)):
		}
		retry = min(2*retry, longestStartRetry)
	}
}

// formatUndecodable is the metric label of what is no event.
const formatUndecodable = "undecodable"

// input makes the run's input of a message.
func (s *starts) input(m *kafka.Message) (in workflows.Input, format string) {
	source := event.Source{Topic: *m.TopicPartition.Topic, Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset)}
	in = workflows.Input{Body: event.Body(m.Value), Source: source, SearchAttributes: s.options.SearchAttributes}
	e, err := event.Decode(m.Value)
	if err != nil {
		e = event.Event{ID: event.UndecodableID(source), Type: event.UnknownType}
		in.Undeliverable = &workflows.Undeliverable{Reason: deadletter.Undecodable, Error: err.Error()}
	} else {
		in.Targets = s.options.Targets.Choose(e)
	}
	if at := m.Timestamp.UTC(); e.PublishedAt.IsZero() && m.TimestampType != kafka.TimestampNotAvailable &&
		at.Year() >= 1 && at.Year() <= 9999 { // any other cannot be written as JSON
		e.PublishedAt = at
	}
	in.Event = e
	if in.Undeliverable != nil {
		return in, formatUndecodable
	}
	return in, string(e.Format)
}

// oversize is what is started of a message that Temporal does not take: who it
// is and where it stands, without what it holds.
func oversize(in workflows.Input, err error) workflows.Input {
	in.Undeliverable = &workflows.Undeliverable{
		Reason: deadletter.Oversize,
		Error:  fmt.Sprintf("the message of %d bytes is too large for Temporal: %v; it is kept in Kafka alone", len(in.Body), err),
	}
	in.Body, in.Targets = nil, nil
	return in
}

func result(in workflows.Input, started bool) string {
	switch {
	case !started:
		return "duplicate"
	case in.Undeliverable != nil:
		return string(in.Undeliverable.Reason)
	}
	return "started"
}

// refusals tells once for all starts in flight that Temporal takes none.
type refusals struct {
	mu     sync.Mutex
	since  time.Time
	logged time.Time
}

func (r *refusals) report(o Options, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.since.IsZero() {
		r.since = now
	}
	o.Health.Set(CheckStarts, err)
	if now.Sub(r.logged) >= remindInterval {
		r.logged = now
		o.Log.Warn("waiting for Temporal to take runs", slog.Duration("for", now.Sub(r.since).Round(time.Second)), "error", err)
	}
}

func (r *refusals) over(o Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		return
	}
	o.Log.Info("Temporal takes runs again", "after", time.Since(r.since).Round(time.Second))
	o.Health.Set(CheckStarts, nil)
	r.since, r.logged = time.Time{}, time.Time{}
}
