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
	"maps"
	"slices"
	"strconv"
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
	// DrainLimit is how long a stop waits for starts in flight; 0: 8 s. A start that
	// takes longer is made again by the next owner of the partition, which finds it
	// to be a duplicate.
	DrainLimit time.Duration
	// Drained, where set, is called when ctx has ended and no start is in flight
	// any more: beside what then remains to be done with Kafka.
	Drained func()
	// SearchAttributes reports whether a run that is started now may use our search
	// attributes; nil: none may.
	SearchAttributes func() bool
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
	flight  *flight
}

// New makes an Ingest; Run starts it. The error names what is missing in the
// options, or the metric that the registry has already.
func New(options Options) (*Ingest, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	in := &Ingest{options: options, flight: newFlight(options.MaxStarts)}
	metrics, err := newMetrics(options.Metrics, func() float64 { return float64(in.flight.count()) })
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
		{"Connect", o.Connect != nil}, {"GroupID", o.GroupID != ""}, {"Reset", o.Reset != ""},
		{"Targets", o.Targets != nil}, {"Starter", o.Starter != nil}, {"MaxStarts", o.MaxStarts > 0},
		{"Health", o.Health != nil}, {"Log", o.Log != nil},
	} {
		if !required.ok {
			return fmt.Errorf("ingest: Options.%s is not set", required.name)
		}
	}
	return nil
}

const (
	// firstRetry and longestRetry bound the wait before the consumer is built
	// anew after its credentials were refused.
	firstRetry   = time.Second
	longestRetry = 30 * time.Second
)

// Run consumes until ctx ends, then commits what Temporal holds, leaves the
// group and returns nil. A refusal of the credentials ends it when the group was
// never joined, with a *RefusedError, and so does an error of Connect; later both
// are waited out, and the connection is asked for again.
func (in *Ingest) Run(ctx context.Context) error {
	joined := false
	retry := firstRetry
	for {
		s, err := in.session(ctx)
		if err == nil {
			err = s.run(ctx)
			if s.joined {
				joined, retry = true, firstRetry
			}
		}
		var fatal *fatalError
		switch {
		case ctx.Err() != nil:
			return nil
		case !joined, errors.As(err, &fatal):
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
	}
}

func (in *Ingest) session(ctx context.Context) (*session, error) {
	connection, err := in.options.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return in.newSession(connection)
}

// fatalError is one after which librdkafka's consumer is of no use, by its own
// word, as when another member took its group.instance.id.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return "Kafka ended this consumer: " + e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// RefusedError says that the brokers refused the credentials.
type RefusedError struct {
	Connection Connection
	Err        error
}

// Error says what was asked and what to do.
func (e *RefusedError) Error() string {
	c := e.Connection
	return fmt.Sprintf("Kafka at %s refused the credentials: %s as %q with %s: %v; correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD "+
		"(or the Genesys integration they come from), see that this user may read KAFKA_TOPIC as KAFKA_GROUP_ID, "+
		"and that the outbound port is the brokers' SASL port",
		c.BootstrapServers, c.SecurityProtocol, c.SASLUsername, c.SASLMechanism, e.Err)
}

// Unwrap gives librdkafka's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// refusedSettings are the librdkafka settings, by their beginning, that
// KAFKA_OPTIONS may not hold: others of our settings decide them, or committing
// would no longer be ours. auto.commit.enable and metadata.broker.list are
// librdkafka's other names of two of them; go. ones change what Poll returns.
var refusedSettings = []string{"enable.auto.", "auto.commit.enable", "group.id", "bootstrap.servers", "metadata.broker.list", "go."}

const (
	statisticsSetting = "statistics.interval.ms"
	protocolSetting   = "group.protocol"
)

// CheckExtra says what is wrong with extra librdkafka settings, nil when nothing
// is. It connects to nothing.
func CheckExtra(extra map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		for _, refused := range refusedSettings {
			if strings.HasPrefix(name, refused) {
				return fmt.Errorf("%s may not be set here", name)
			}
		}
	}
	if interval, ok := extra[statisticsSetting]; ok {
		// Readiness comes from the statistics and must be true within 20 s.
		if n, err := strconv.Atoi(interval); err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("%s is %q, and /readyz needs 1 to 10000", statisticsSetting, interval)
		}
	}
	// The protocol "consumer" rebalances in another way, which commits on revocation
	// were not built for. librdkafka would refuse it over our session.timeout.ms,
	// which is not what is wrong.
	if protocol, ok := extra[protocolSetting]; ok && !strings.EqualFold(strings.TrimSpace(protocol), "classic") {
		return fmt.Errorf("%s is %q, and ingest is built on the rebalances of classic", protocolSetting, protocol)
	}
	config := config(Options{GroupID: "check", Reset: "earliest", Extra: extra}, Connection{SecurityProtocol: "PLAINTEXT"})
	delete(config, "bootstrap.servers")
	c, err := kafka.NewConsumer(&config)
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

		// A backlog of any size waits in Kafka. Prefetched are at most 4 MiB and
		// 2 MiB of a fetch in flight per broker. Measured with 100,000 events of 1 KB and 256
		// starts in flight, without the Temporal client: at most 96 MB of memory;
		// 125 MB with twice the limits, 136 MB with four times, each at the same
		// 4,000 events per second.
		"queued.max.messages.kbytes": 4 << 10,
		"fetch.max.bytes":            2 << 20,

		// A broker that is cut off without a word is noticed within /readyz's 20 s.
		statisticsSetting:          int(statisticsInterval / time.Millisecond),
		"socket.timeout.ms":        10_000,
		"socket.keepalive.enable":  true,
		"reconnect.backoff.max.ms": 5_000,
		// A topic or partition that is created later is found this soon.
		"topic.metadata.refresh.interval.ms": 30_000,

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
