// Package ingest consumes the events of Kafka topics and starts one FanOut run for each.
//
// An offset is committed only when Temporal has accepted that message and every earlier one
// of its partition. So after a crash messages are read again, and none is lost; the workflow
// ID makes a message that is read again a duplicate.
//
// The package refuses to skip a message, whatever the message contains and whatever Temporal
// answers, and knows nothing of delivery.
//
// The path of a message, by file:
//
//	ingest.go      Run: sessions, one after the other; reconnecting
//	session.go     one consumer: poll, hand messages to starts, pause, drain, close
//	partitions.go  rebalances, and the partitions of this member
//	positions.go   where a partition is read from, and gaps in its offsets
//	limiter.go     how many messages and starts may be in flight
//	vegas.go       the algorithm that finds how many starts the server can use
//	start.go       starts the run of a message until Temporal accepts it
//	input.go       the run's input of a message, and smaller inputs if it is rejected
//	temporal.go    starts a run, and compares it with the run that has the event's id
//	offsets.go     the contiguous prefix of accepted messages, and its lag
//	commit.go      commits offsets, with the ids of cluster and topic as metadata
//
// The rest, by file:
//
//	connection.go  how to connect to the brokers, and which parts of that are secret
//	config.go      librdkafka's settings
//	survey.go      what the brokers are asked about topics and partitions, every 5 s
//	topics.go      ids of topics; topics that do not exist or may not be read
//	stalls.go      partitions whose messages wait because of an error
//	errors.go      classes of librdkafka's errors, and the cures that an operator can apply
//	               (those of --preflight alone: internal/app/ingest/preflightkafka.go)
//	statistics.go  what librdkafka's statistics show about brokers and group
//	readiness.go   readiness of Kafka, and the log of an outage
//	loglimit.go    limits repeated lines of the log; librdkafka's own log
//	metrics.go     the counters
//	lag.go         the metrics of the lag
//
// Package probe, in the folder probe, asks the brokers for --preflight.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/target"
)

// Options configure an Ingest.
type Options struct {
	// Connect returns the connection. Run calls it at the start, and again when a broker
	// rejects the credentials later or no broker has been connected for ReconnectAfter.
	Connect   func(context.Context) (Connection, error)
	GroupID   string
	Reset     string // earliest or latest: where a partition without a commit is read from
	Targets   *target.Set
	EventID   *target.EventID // the expression that identifies an event; nil: event.id
	Starter   Starter
	MaxStarts int
	// DrainLimit is how long a stop waits for starts in flight; 0: 8 s. A start that takes
	// longer is repeated by the next owner of the partition, which finds it to be a
	// duplicate.
	DrainLimit time.Duration
	// OnDrained, if set, is called when ctx has ended and no start is in flight any more,
	// before the last commit.
	OnDrained func()
	// SearchAttributes reports whether a run that is started now may use our search
	// attributes; nil: none may.
	SearchAttributes func() bool
	// ReconnectAfter is how long no broker must have been connected before Connect is called
	// again and the consumer is rebuilt. Zero: 60 s.
	ReconnectAfter time.Duration
	Metrics        prometheus.Registerer
	Health         Health
	Log            *slog.Logger
}

// Health records which checks are ready.
type Health interface {
	Set(check string, err error)
}

// The health checks that ingest sets.
const (
	CheckKafka  = "kafka"
	CheckStarts = "starts"
)

// Ingest is one member of the consumer group.
type Ingest struct {
	options Options
	metrics *metrics
	starter *messageStarter
	limiter *limiter

	current    atomic.Pointer[session] // for the metrics
	group      *groupOutage
	lastTopics map[partitionKey]topicID // of the partitions that this process has read
}

// New returns an Ingest; Run starts it. The error names the option that is missing, or the
// metric that the registry already has.
func New(options Options) (*Ingest, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if options.ReconnectAfter == 0 {
		options.ReconnectAfter = reconnectAfter
	}
	i := &Ingest{
		options: options, limiter: newLimiter(options.MaxStarts),
		group: newGroupOutage(), lastTopics: make(map[partitionKey]topicID),
	}
	metrics, err := newMetrics(options.Metrics, i)
	if err != nil {
		return nil, err
	}
	i.metrics = metrics
	i.starter = newMessageStarter(options, metrics)
	return i, nil
}

func (o Options) searchAttributes() bool { return o.SearchAttributes != nil && o.SearchAttributes() }

func (o Options) validate() error {
	for _, required := range []struct {
		name string
		ok   bool
	}{
		{"Connect", o.Connect != nil},
		{"GroupID", o.GroupID != ""},
		{"Reset", o.Reset != ""},
		{"Targets", o.Targets != nil},
		{"Starter", o.Starter != nil},
		{"MaxStarts", o.MaxStarts > 0},
		{"Health", o.Health != nil},
		{"Log", o.Log != nil},
	} {
		if !required.ok {
			return fmt.Errorf("ingest: Options.%s is not set", required.name)
		}
	}
	return nil
}

const (
	// reconnectAfter is the default of Options.ReconnectAfter. Brokers restart in less.
	reconnectAfter = time.Minute

	// reconnectTimeout is how long Connect may take when the consumer is rebuilt. The
	// brokers may be back before the Genesys API is.
	reconnectTimeout = 30 * time.Second
)

// reconnectBackoff returns the waits before the consumer is rebuilt: 1 s to 30 s, doubling.
func reconnectBackoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: time.Second, MaxInterval: 30 * time.Second, Multiplier: 2}
}

// Run consumes until ctx ends. Then it commits the messages that Temporal has accepted,
// leaves the group and returns nil. An error of the first call of Connect ends Run, and so does
// a *CredentialsError if the group was never joined. Errors of later Connect calls, rejected
// credentials after that, and unreachable brokers do not end Run: it calls Connect again and
// builds a new consumer.
func (i *Ingest) Run(ctx context.Context) error {
	connection, err := i.options.Connect(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	created, established, waits := false, false, reconnectBackoff()
	for {
		s, err := i.newSession(connection)
		if err == nil {
			created = true
			err = s.run(ctx)
			if s.established {
				established = true
				waits.Reset()
			}
		}
		var fatal *fatalError
		var unreachable *unreachableError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &fatal), !created:
			return err
		case errors.As(err, &unreachable):
			waits.Reset() // the session has waited for ReconnectAfter already
		case !established:
			return err
		}
		wait := waits.NextBackOff()
		i.options.Log.Error("no connection to Kafka; reading the connection details again", "error", err, "in", wait)
		i.options.Health.Set(CheckKafka, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		connection = i.reconnect(ctx, connection)
	}
}

// reconnect calls Connect again. If that fails, it returns the last connection, because the
// brokers may be back while the Genesys API is not.
func (i *Ingest) reconnect(ctx context.Context, last Connection) Connection {
	ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
	defer cancel()
	connection, err := i.options.Connect(ctx)
	if err != nil {
		i.options.Log.Error("the connection details could not be read again; trying the last ones", "error", err)
		return last
	}
	return connection
}
