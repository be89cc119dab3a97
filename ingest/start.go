package ingest

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
)

// Starter starts a run.
type Starter interface {
	// Start starts FanOut for the event of an input. It returns false if the event
	// has a run already. A *ConflictError means that another event has the run of
	// its id, and a *fanout.ContentError that Temporal refuses the input for its
	// content; any other error is retryable.
	Start(ctx context.Context, in fanout.Input) (started bool, err error)
}

const (
	firstStartRetry   = 100 * time.Millisecond
	longestStartRetry = 5 * time.Second
)

// starts turns messages into runs.
type starts struct {
	options   Options
	metrics   *metrics
	flight    *flight
	refused   refusals
	conflicts occasional
	anonymous occasional // events for which FANOUT_EVENT_ID gave no id
}

// hand gives one message that has a place in flight to Temporal, and the place
// back. It returns nil once Temporal holds the message, or if there is nothing to
// start; an error only if ctx ends first.
func (s *starts) hand(ctx context.Context, m *kafka.Message) error {
	starting := true
	defer func() { s.flight.leave(starting) }()
	if m.Value == nil { // which deletes a key from a compacted topic
		s.metrics.consumed.WithLabelValues(formatTombstone).Inc()
		return nil
	}
	in, format := s.input(m)
	s.metrics.consumed.WithLabelValues(format).Inc()
	if in.Undeliverable == nil && len(in.Targets) == 0 {
		s.metrics.started.WithLabelValues("unmatched").Inc()
		return nil
	}
	var waiting, accepted bool // waiting: among those that Temporal refuses
	defer func() {
		if waiting {
			s.refused.leave(s.options, accepted)
		}
	}()
	retry := firstStartRetry
	for {
		err := s.try(ctx, in)
		if err == nil {
			accepted = true
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
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

// try starts the run of a message, with less of the message as long as Temporal
// refuses the content of more. If it returns an error, the cause is not the
// message: the next try begins with all of it again, so that nothing is left out
// that Temporal will accept once the cause is gone.
func (s *starts) try(ctx context.Context, in fanout.Input) error {
	for {
		began := time.Now()
		started, err := s.options.Starter.Start(ctx, in)
		if err == nil {
			s.flight.answered(time.Since(began))
			s.accepted(in, started)
			return nil
		}
		next, ok := s.instead(in, err)
		if !ok {
			return err
		}
		in = next
	}
}

// accepted counts a message that Temporal holds, and logs what it left out of it.
func (s *starts) accepted(in fanout.Input, started bool) {
	s.metrics.started.WithLabelValues(result(in, started)).Inc()
	if !started || in.Undeliverable == nil {
		return
	}
	log := s.options.Log.With("topic", in.Source.Topic, "partition", in.Source.Partition, "offset", in.Source.Offset, "error", in.Undeliverable.Error)
	switch in.Undeliverable.Reason {
	case event.ReasonOversize:
		log.Warn("Temporal refused a message; it is kept in Kafka alone, with a dead letter of " + event.OversizeTarget)
	case event.ReasonConflict:
		if times, due := s.conflicts.happened(); due {
			log.Warn("two events have one id; the later one is delivered to no target, and is a dead letter of "+event.ConflictTarget, "times", times)
		}
	}
}

func result(in fanout.Input, started bool) string {
	switch {
	case !started:
		return "duplicate"
	case in.Undeliverable != nil:
		return string(in.Undeliverable.Reason)
	}
	return "started"
}
