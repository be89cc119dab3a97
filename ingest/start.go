package ingest

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/outage"
)

// Starter starts a run.
type Starter interface {
	// Start starts FanOut for the event of an input. It returns false if the event has a
	// run already. A *ConflictError means that another event has the run of its id, and a
	// *fanout.ContentError that Temporal rejects the input for its content. Any other error
	// is retryable.
	Start(ctx context.Context, in fanout.Input) (started bool, err error)
}

// starter turns messages into runs.
type starter struct {
	options  Options
	metrics  *metrics
	rejected *outage.Outage // Temporal accepts no start of some messages
	lines    lineLimiter
}

func newStarter(options Options, metrics *metrics) *starter {
	return &starter{options: options, metrics: metrics, rejected: outage.New(
		func(r outage.Report) {
			options.Log.Warn("waiting for Temporal to accept runs; the offsets of these messages are not committed before it does",
				"starts", r.Waiting, "for", r.Age, "error", r.Err)
		},
		func(r outage.Report) {
			// If the session ended, nothing is known about Temporal, but the messages may
			// belong to another member now.
			options.Health.Set(CheckStarts, nil)
			if r.Err == nil {
				options.Log.Info("Temporal accepts runs again", "after", r.Age)
			}
		},
	)}
}

// startBackoff returns the waits between two tries to start one message: 100 ms to 5 s,
// doubling, and up to half as much again at random, so that messages that were rejected
// together are not tried again together.
func startBackoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 125 * time.Millisecond, MaxInterval: 6250 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2,
	}
}

// start starts the run of one message, and tries again until Temporal accepts it. It returns
// nil once Temporal has accepted the message, or if there is nothing to start. It returns an
// error only if ctx ends first. The caller releases the permit.
func (s *starter) start(ctx context.Context, m *kafka.Message, p *permit) (err error) {
	if m.Value == nil { // a tombstone, which deletes a key from a compacted topic
		s.metrics.consumed.WithLabelValues(formatTombstone).Inc()
		return nil
	}
	in, format := s.input(m)
	s.metrics.consumed.WithLabelValues(format).Inc()
	if in.Undeliverable == nil && len(in.Targets) == 0 {
		s.metrics.started.WithLabelValues("unmatched").Inc()
		return nil
	}
	// Waiters are counted, so that the starts of other messages do not hide a message that
	// Temporal never accepts.
	waiter := s.rejected.Waiter()
	defer func() { waiter.Done(err) }()
	waits := startBackoff()
	for {
		rejection := s.startOnce(ctx, in, p)
		if rejection == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		waiter.Failed(rejection)
		s.options.Health.Set(CheckStarts, rejection)
		if err := p.backOff(ctx, waits.NextBackOff()); err != nil {
			return err
		}
	}
}

// startOnce starts the run of a message, and leaves out more of the message as long as
// Temporal rejects the content. If it returns an error, the message is not the cause. The
// next try begins with the whole message again, so that nothing is left out that Temporal
// accepts once the cause is gone.
func (s *starter) startOnce(ctx context.Context, in fanout.Input, p *permit) error {
	for {
		began := time.Now()
		started, err := s.options.Starter.Start(ctx, in)
		if err == nil {
			p.answered(time.Since(began))
			s.recordAccepted(in, started)
			return nil
		}
		next, ok := s.reducedInput(in, err)
		if !ok {
			return err
		}
		in = next
	}
}

// recordAccepted counts a message that Temporal has accepted, and logs if part of it was
// left out.
func (s *starter) recordAccepted(in fanout.Input, started bool) {
	s.metrics.started.WithLabelValues(resultLabel(in, started)).Inc()
	if !started || in.Undeliverable == nil {
		return
	}
	log := s.options.Log.With("topic", in.Source.Topic, "partition", in.Source.Partition, "offset", in.Source.Offset, "error", in.Undeliverable.Error)
	switch in.Undeliverable.Reason {
	case event.ReasonOversize:
		log.Warn("Temporal rejected a message; it is kept only in Kafka, and has a dead letter of " + event.OversizeTarget)
	case event.ReasonConflict:
		if times, due := s.lines.occurred("conflict"); due {
			log.Warn("two events have one id; the later one is delivered to no target, and has a dead letter of "+event.ConflictTarget, "times", times)
		}
	}
}

// resultLabel returns the metric label "result" of a message that Temporal has accepted.
func resultLabel(in fanout.Input, started bool) string {
	switch {
	case !started:
		return "duplicate"
	case in.Undeliverable != nil:
		return string(in.Undeliverable.Reason)
	}
	return "started"
}
