package ingest

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/failpoint"
	"genesys-fanout/internal/outage"
)

// Starter starts a run.
type Starter interface {
	// Start starts FanOut for the event of an input. If the event has a run already, Start
	// returns (false, nil): the message is a duplicate and counts as accepted.
	//
	// A *ConflictError means that the run with the event's id is the run of another event. A
	// *fanout.ContentError means that Temporal rejects the input because of its content. Any
	// other error is retryable.
	Start(ctx context.Context, input fanout.Input) (started bool, err error)
}

// messageStarter turns messages into runs.
type messageStarter struct {
	options  Options
	metrics  *metrics
	rejected *outage.Outage // outage: Temporal rejects the starts of these messages
	logLimit lineLimiter
}

func newMessageStarter(options Options, metrics *metrics) *messageStarter {
	return &messageStarter{options: options, metrics: metrics, rejected: outage.New(
		func(r outage.Report) {
			options.Log.Warn("waiting for Temporal to accept runs; the offsets of these messages are not committed before it does",
				"starts", r.Waiting, "for", r.Age, "error", r.Err)
		},
		func(r outage.Report) {
			// Reset the check also when the session ends, because this process no longer has
			// messages that wait.
			options.Health.Set(CheckStarts, nil)
			if r.Err == nil {
				options.Log.Info("Temporal accepts runs again", "after", r.Age)
			}
		},
	)}
}

// startBackoff returns the waits between two tries to start one message. They double, and each
// is random, so that messages that were rejected together are not tried again together. The
// first is 125 ms ± 20 %, which is 100 to 150 ms, and the longest is 6.25 s ± 20 %, which is 5
// to 7.5 s.
func startBackoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 125 * time.Millisecond, MaxInterval: 6250 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2,
	}
}

// start starts the run of one message, and tries again until Temporal accepts it. It returns
// nil once Temporal has accepted the message, or if there is nothing to start. It returns an
// error only if ctx ends first. The caller releases the permit.
func (s *messageStarter) start(ctx context.Context, m *kafka.Message, p *permit) (err error) {
	if m.Value == nil { // a tombstone, which deletes a key from a compacted topic
		s.metrics.consumed.WithLabelValues(formatTombstone).Inc()
		return nil
	}
	input, format := s.inputOf(m)
	s.metrics.consumed.WithLabelValues(format).Inc()
	if input.Undeliverable == nil && len(input.Targets) == 0 {
		s.metrics.started.WithLabelValues("unmatched").Inc()
		return nil
	}
	// Waiters are counted, so that the starts of other messages do not hide a message that
	// Temporal never accepts.
	waiter := s.rejected.Waiter()
	defer func() { waiter.Done(err) }()
	waits := startBackoff()
	for {
		rejection := s.startOnce(ctx, input, p)
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
func (s *messageStarter) startOnce(ctx context.Context, input fanout.Input, p *permit) error {
	for {
		began := time.Now()
		started, err := s.options.Starter.Start(ctx, input)
		if err == nil {
			p.answered(time.Since(began))
			s.recordAccepted(input, started)
			failpoint.Reach(failpoint.StartAccepted)
			return nil
		}
		next, ok := s.reducedInput(input, err)
		if !ok {
			return err
		}
		input = next
	}
}

// recordAccepted counts a message that Temporal has accepted, and logs if part of it was
// left out.
func (s *messageStarter) recordAccepted(input fanout.Input, started bool) {
	s.metrics.started.WithLabelValues(resultLabel(input, started)).Inc()
	if !started || input.Undeliverable == nil {
		return
	}
	log := s.options.Log.With("topic", input.Source.Topic, "partition", input.Source.Partition, "offset", input.Source.Offset, "error", input.Undeliverable.Error)
	switch input.Undeliverable.Reason {
	case event.ReasonOversize:
		log.Warn("Temporal rejected a message; it is kept only in Kafka, and has a dead letter of " + event.OversizeTarget)
	case event.ReasonConflict:
		if times, due := s.logLimit.occurred("conflict"); due {
			log.Warn("two events have one id; the later one is delivered to no target, and has a dead letter of "+event.ConflictTarget, "times", times)
		}
	}
}

// resultLabel returns the metric label "result" of a message that Temporal has accepted.
func resultLabel(input fanout.Input, started bool) string {
	switch {
	case !started:
		return "duplicate"
	case input.Undeliverable != nil:
		return string(input.Undeliverable.Reason)
	}
	return "started"
}
