package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/workflows"
)

// Starter starts a run.
type Starter interface {
	// Start starts FanOut for the event, or finds that it was started before
	// (false). *workflows.ContentError means that this input would be refused for ever;
	// any other error may pass.
	Start(ctx context.Context, in workflows.Input) (started bool, err error)
}

const (
	firstStartRetry   = 100 * time.Millisecond
	longestStartRetry = 5 * time.Second
)

// starts turns messages into runs.
type starts struct {
	options Options
	metrics *metrics
	flight  *flight
	refused refusals
}

// hand gives one message that has a place in flight to Temporal, and the place
// back. It returns nil once Temporal holds the message, or when no target wants
// it; an error only when ctx ends first.
func (s *starts) hand(ctx context.Context, m *kafka.Message) error {
	starting := true
	defer func() { s.flight.leave(starting) }()
	in, format := s.input(m)
	s.metrics.consumed.WithLabelValues(format).Inc()
	if in.Undeliverable == nil && len(in.Targets) == 0 {
		s.metrics.started.WithLabelValues("unmatched").Inc()
		return nil
	}
	var waiting bool // among those that Temporal refuses
	defer func() {
		if waiting {
			s.refused.leave(s.options)
		}
	}()
	retry := firstStartRetry
	for {
		began := time.Now()
		started, err := s.options.Starter.Start(ctx, in)
		if err == nil {
			if started { // a duplicate costs the server less
				s.flight.took(time.Since(began))
			}
			s.metrics.started.WithLabelValues(result(in, started)).Inc()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if less, ok := s.lesser(in, err); ok {
			in = less
			continue
		}
		s.refused.report(s.options, err, !waiting)
		waiting = true
		s.flight.refused()
		starting = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry + rand.N(retry/2)):
		}
		if err := s.flight.again(ctx); err != nil {
			return err
		}
		starting = true
		retry = min(2*retry, longestStartRetry)
	}
}

// lesser is what to start instead of an input that would be refused for ever:
// first the same without search attributes, which a frontend may not know, and
// then what is left of an oversize one. There is nothing less than that.
func (s *starts) lesser(in workflows.Input, err error) (workflows.Input, bool) {
	var content *workflows.ContentError
	switch {
	case !errors.As(err, &content):
		return in, false
	case in.SearchAttributes && !content.Size:
		in.SearchAttributes = false
		return in, true
	case in.Undeliverable != nil && in.Undeliverable.Reason == deadletter.Oversize:
		return in, false
	}
	s.options.Log.Warn("Temporal does not take a message; starting it without its payload", "topic", in.Source.Topic,
		"partition", in.Source.Partition, "offset", in.Source.Offset, "size", len(in.Body), "error", content.Err)
	in = oversize(in, content.Err)
	in.SearchAttributes = s.options.searchAttributes()
	return in, true
}

// formatUndecodable is the metric label of what is no event.
const formatUndecodable = "undecodable"

// input makes the run's input of a message.
func (s *starts) input(m *kafka.Message) (in workflows.Input, format string) {
	source := event.Source{Topic: *m.TopicPartition.Topic, Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset)}
	in = workflows.Input{Body: event.Body(m.Value), Source: source, SearchAttributes: s.options.searchAttributes()}
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
		Error:  fmt.Sprintf("Temporal does not take the message of %d bytes: %v; it is kept in Kafka alone", len(in.Body), err),
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

// refusals tells once for all starts in flight that Temporal refuses some. It
// counts messages, so that one that is refused for ever is not drowned by the
// success of others.
type refusals struct {
	mu      sync.Mutex
	waiting int
	since   time.Time
	logged  time.Time
}

// report takes note of a refused start, the first of its message or another.
func (r *refusals) report(o Options, err error, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if first {
		if r.waiting == 0 {
			r.since, r.logged = now, time.Time{}
		}
		r.waiting++
	}
	o.Health.Set(CheckStarts, err)
	if now.Sub(r.logged) >= remindInterval {
		r.logged = now
		o.Log.Warn("waiting for Temporal to take runs", "starts", r.waiting, "for", now.Sub(r.since).Round(time.Second), "error", err)
	}
}

// leave takes note that a message which was refused waits no more.
func (r *refusals) leave(o Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	if r.waiting == 0 {
		o.Log.Info("Temporal takes runs again", "after", time.Since(r.since).Round(time.Second))
		o.Health.Set(CheckStarts, nil)
	}
}
