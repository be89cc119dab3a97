// Package ingest consumes the events of a Kafka topic and starts one FanOut run
// for each.
//
// An offset is committed only when Temporal holds that message and every
// earlier one of its partition, so a crash replays messages and loses none; the
// workflow ID drops what is replayed.
//
// The package refuses to skip a message, whatever it holds and whatever
// Temporal says of it, and knows nothing of delivery.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/target"
)

// Options are what ingest needs.
type Options struct {
	// Connect returns the connection. Run calls it at the start, and again when a
	// broker refuses the credentials later or all brokers have been away for
	// ReconnectAfter.
	Connect   func(context.Context) (Connection, error)
	GroupID   string
	Reset     string // earliest or latest: where a partition without a commit is read from
	Targets   *target.Set
	EventID   *target.EventID // what identifies an event; nil: event.id
	Starter   Starter
	MaxStarts int
	// DrainLimit is how long a stop waits for starts in flight; 0: 8 s. A start that
	// takes longer is made again by the next owner of the partition, which finds it
	// to be a duplicate.
	DrainLimit time.Duration
	// OnDrained, where set, is called when ctx has ended and no start is in flight
	// any more: beside what then remains to be done with Kafka.
	OnDrained func()
	// SearchAttributes reports whether a run that is started now may use our search
	// attributes; nil: none may.
	SearchAttributes func() bool
	// ReconnectAfter is how long all brokers must have been away until the
	// connection is asked for again and the consumer rebuilt. Zero: 60 s.
	ReconnectAfter time.Duration
	Metrics        prometheus.Registerer
	Health         Health
	Log            *slog.Logger
}

// Health takes note of what is ready.
type Health interface {
	Set(check string, err error)
}

// The health checks that ingest reports to.
const (
	CheckKafka  = "kafka"
	CheckStarts = "starts"
)

// Ingest is one member of the consumer group.
type Ingest struct {
	options Options
	metrics *metrics
	starts  *starts
	flight  *flight

	current    atomic.Pointer[session] // for the metrics
	down       outage
	remembered map[partitionKey]topicID // of the partitions that this process has read
}

// New makes an Ingest; Run starts it. The error names what is missing in the
// options, or the metric that the registry has already.
func New(options Options) (*Ingest, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if options.ReconnectAfter == 0 {
		options.ReconnectAfter = reconnectAfter
	}
	in := &Ingest{options: options, flight: newFlight(options.MaxStarts), remembered: make(map[partitionKey]topicID)}
	metrics, err := newMetrics(options.Metrics, in)
	if err != nil {
		return nil, err
	}
	in.metrics = metrics
	in.starts = &starts{options: options, metrics: metrics, flight: in.flight}
	return in, nil
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
	// reconnectAfter is the default of Options.ReconnectAfter: longer than brokers
	// take to restart.
	reconnectAfter = time.Minute

	// firstRetry and longestRetry bound the wait before the consumer is rebuilt
	// after its credentials were refused.
	firstRetry   = time.Second
	longestRetry = 30 * time.Second

	// reconnectTimeout is how long Connect may take when the consumer is rebuilt.
	// The brokers may be back before the Genesys API is.
	reconnectTimeout = 30 * time.Second
)

// Run consumes until ctx ends, then commits what Temporal holds, leaves the
// group and returns nil. A refusal of the credentials ends it if the group was
// never joined, with a *CredentialsError, and so does an error of the first call of
// Connect. Later refusals, and brokers that are away, are waited out: the
// connection is asked for again, and the consumer rebuilt.
func (in *Ingest) Run(ctx context.Context) error {
	connection, err := in.options.Connect(ctx)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	began, joined, retry := false, false, firstRetry
	for {
		s, err := in.newSession(connection)
		if err == nil {
			began = true
			err = s.run(ctx)
			if s.joined {
				joined, retry = true, firstRetry
			}
		}
		var fatal *fatalError
		var away *awayError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &fatal), !began:
			return err
		case errors.As(err, &away): // after a minute, so there is no need for a longer wait
			retry = firstRetry
		case !joined:
			return err
		}
		in.options.Log.Error("no connection to Kafka; reading the connection details again", "error", err, "in", retry)
		in.options.Health.Set(CheckKafka, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
		retry = min(2*retry, longestRetry)
		connection = in.reconnect(ctx, connection)
	}
}

// reconnect asks for the connection again. If that fails, the last one is tried
// once more, because the brokers may be well while the Genesys API is not.
func (in *Ingest) reconnect(ctx context.Context, last Connection) Connection {
	ctx, cancel := context.WithTimeout(ctx, reconnectTimeout)
	defer cancel()
	connection, err := in.options.Connect(ctx)
	if err != nil {
		in.options.Log.Error("the connection details could not be read again; trying the last ones", "error", err)
		return last
	}
	return connection
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
