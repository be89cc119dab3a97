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
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/target"
)

// Connection is how the brokers are reached.
type Connection struct {
	BootstrapServers string
	SecurityProtocol string
	SASLMechanism    string
	SASLUsername     string
	SASLPassword     string
	CALocation       string // empty: the system's roots
	Topics           []string
}

// Options are what ingest needs.
type Options struct {
	// Connect gives the connection. It is asked at the start, and again when
	// a broker refuses the credentials later.
	Connect   func(context.Context) (Connection, error)
	GroupID   string
	Reset     string            // auto.offset.reset
	Extra     map[string]string // librdkafka settings, over ours
	Targets   *target.Set
	Starter   Starter
	MaxStarts int
	// SearchAttributes tells each run whether the namespace has ours.
	SearchAttributes bool
	Metrics          prometheus.Registerer
	Health           Health
	Log              *slog.Logger
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
	slots   chan struct{} // one per start in flight
}

// New makes an Ingest; Run starts it.
func New(options Options) *Ingest {
	in := &Ingest{options: options, slots: make(chan struct{}, options.MaxStarts)}
	in.metrics = newMetrics(options.Metrics, func() float64 { return float64(len(in.slots)) })
	in.starts = &starts{options: options, metrics: in.metrics}
	return in
}

const (
	// firstRetry and longestRetry bound the wait before the consumer is built
	// anew after its credentials were refused.
	firstRetry   = time.Second
	longestRetry = 30 * time.Second
)

// Run consumes until ctx ends, then commits what Temporal holds and leaves the
// group. A refusal of the credentials ends it when the group was never joined,
// with a *RefusedError; later the connection is asked for again.
func (in *Ingest) Run(ctx context.Context) error {
	joined := false
	retry := firstRetry
	for {
		connection, err := in.options.Connect(ctx)
		if err != nil {
			return err
		}
		s, err := in.newSession(connection)
		if err != nil {
			return err
		}
		err = s.run(ctx)
		joined = joined || s.joined
		if s.joined {
			retry = firstRetry
		}
		var refused *RefusedError
		if err == nil || !joined || !errors.As(err, &refused) {
			return err
		}
		in.options.Log.Error("the broker refuses the credentials; reading the connection details again", "error", err, "in", retry)
		in.options.Health.Set(CheckKafka, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
		retry = min(2*retry, longestRetry)
	}
}

// RefusedError says that the brokers refused the credentials.
type RefusedError struct {
	Connection Connection
	Err        error
}

// Error says what was asked and what to do.
func (e *RefusedError) Error() string {
	c := e.Connection
	return fmt.Sprintf("Kafka at %s refused the credentials: %s as %q by %s: %v; correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD "+
		"(or the Genesys integration they come from), and see that the outbound port is the broker's SASL port",
		c.BootstrapServers, c.SecurityProtocol, c.SASLUsername, c.SASLMechanism, e.Err)
}

// Unwrap gives librdkafka's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// refusedSettings are the librdkafka settings that KAFKA_OPTIONS may not hold:
// others of our settings decide them, or committing would no longer be ours.
var refusedSettings = []string{"enable.auto.", "group.id", "bootstrap.servers"}

// CheckExtra says what is wrong with extra librdkafka settings, nil when nothing is.
func CheckExtra(extra map[string]string) error {
	for name := range extra {
		for _, refused := range refusedSettings {
			if strings.HasPrefix(name, refused) {
				return fmt.Errorf("%s may not be set", name)
			}
		}
	}
	config := config(Options{GroupID: "check", Reset: "earliest", Extra: extra}, Connection{BootstrapServers: "127.0.0.1:1", SecurityProtocol: "PLAINTEXT"})
	c, err := kafka.NewConsumer(&config) // connects only once it subscribes
	if err != nil {
		return err
	}
	return c.Close()
}

// config is the consumer's configuration.
func config(o Options, c Connection) kafka.ConfigMap {
	m := kafka.ConfigMap{
		"bootstrap.servers": c.BootstrapServers,
		"security.protocol": c.SecurityProtocol,
		"group.id":          o.GroupID,
		"auto.offset.reset": o.Reset,
		"client.id":         "genesys-fanout",

		"go.logs.channel.enable": true,

		// Offsets are committed by hand, and stored nowhere before.
		"enable.auto.commit":       false,
		"enable.auto.offset.store": false,

		// A backlog of any size waits in Kafka: 16 MiB are prefetched, 8 MiB a
		// fetch, and librdkafka needs about as much again. That leaves two
		// thirds of 150 MB to the starts in flight and the Go runtime.
		"queued.max.messages.kbytes": 16 << 10,
		"fetch.max.bytes":            8 << 20,

		// A broker that is cut off without a word is noticed within /readyz's 20 s.
		"statistics.interval.ms":   int(statisticsInterval / time.Millisecond),
		"socket.timeout.ms":        10_000,
		"socket.keepalive.enable":  true,
		"reconnect.backoff.max.ms": 5_000,
		// A member that was killed gives its partitions up after this long.
		"session.timeout.ms": 15_000,
	}
	if strings.HasPrefix(c.SecurityProtocol, "SASL_") {
		m["sasl.mechanisms"] = c.SASLMechanism
		m["sasl.username"] = c.SASLUsername
		m["sasl.password"] = c.SASLPassword
	}
	if c.CALocation != "" {
		m["ssl.ca.location"] = c.CALocation
	}
	for name, value := range o.Extra {
		m[name] = value
	}
	return m
}
