package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// Probe asks the brokers what a preflight wants to know, with the configuration
// that the consumer gets. It subscribes to nothing, so it joins no group, and
// creates no topic.
type Probe struct {
	group      string
	latest     bool // where a partition without a commit is read from
	connection Connection
	consumer   *kafka.Consumer
	admin      *kafka.AdminClient

	polling sync.WaitGroup
	logging sync.WaitGroup
	stop    context.CancelFunc
	refused context.Context // ends with the refusal as its cause

	mu   sync.Mutex
	last error // what librdkafka told last of what matters
}

// ProbeOptions are those of Options that a Probe needs.
type ProbeOptions struct {
	GroupID string
	Reset   string // earliest or latest
}

// NewProbe begins to connect. Close frees it.
func NewProbe(o ProbeOptions, connection Connection) (*Probe, error) {
	config := config(o.GroupID, connection)
	config["allow.auto.create.topics"] = false
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("make the Kafka client: %w", connection.redactError(err))
	}
	admin, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the Kafka client: %w", err), consumer.Close())
	}
	polling, stop := context.WithCancel(context.Background())
	refused, refuse := context.WithCancelCause(polling)
	p := &Probe{
		group: o.GroupID, latest: o.Reset == "latest", connection: connection, consumer: consumer, admin: admin, stop: stop, refused: refused,
	}
	p.logging.Go(func() {
		for range consumer.Logs() { // they come as errors too; unread they would end on standard error
		}
	})
	p.polling.Go(func() { p.poll(polling, refuse) })
	return p, nil
}

// Close frees the client. It may take as long as a connection under way.
func (p *Probe) Close() {
	p.stop()
	p.polling.Wait()
	p.admin.Close()
	_ = p.consumer.Close() // nothing was consumed that an error could lose
	p.logging.Wait()
}

// poll collects what librdkafka tells by the way: of a refusal nothing else does.
func (p *Probe) poll(ctx context.Context, refuse context.CancelCauseFunc) {
	for ctx.Err() == nil {
		e, ok := p.consumer.Poll(int(pollWait / time.Millisecond)).(kafka.Error)
		if !ok {
			continue
		}
		err := p.connection.redactError(e)
		p.mu.Lock()
		if p.last == nil || e.Code() != kafka.ErrAllBrokersDown { // which says less than what came before
			p.last = err
		}
		p.mu.Unlock()
		if IsAuthenticationError(err) {
			refuse(err)
		}
	}
}

// ask ends a question early when the brokers refuse the credentials, and adds to
// one that nobody answered what librdkafka told meanwhile.
func (p *Probe) ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.refused, func() { cancel(context.Cause(p.refused)) })()
	err := question(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); IsAuthenticationError(cause) {
		return cause
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		return fmt.Errorf("no answer in time: %w", p.last)
	}
	return errors.New("no answer in time")
}

// Authenticate asks how many brokers there are. They answer only if they accept the
// credentials, or if no SASL is configured. It asks for metadata and does not describe
// the cluster, because librdkafka ends the process with a segmentation fault if the
// brokers give their cluster no id.
func (p *Probe) Authenticate(ctx context.Context) (brokers int, err error) {
	err = p.ask(ctx, func(ctx context.Context) error {
		for {
			metadata, err := p.consumer.GetMetadata(nil, false, int(metadataWait/time.Millisecond))
			if err == nil {
				brokers = len(metadata.Brokers)
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			switch code(err) {
			case kafka.ErrTimedOut, kafka.ErrTransport, kafka.ErrAllBrokersDown: // they may answer yet
			default:
				return err
			}
		}
	})
	return brokers, err
}

// metadataWait bounds one question for metadata, which no context can end.
const metadataWait = 500 * time.Millisecond

// Secured is how the brokers are to be dialed.
type Secured struct {
	Protocol string // security.protocol
	CA       string // ssl.ca.location; empty: the system's roots
	// Others are further settings of TLS, by name, which KAFKA_OPTIONS may hold:
	// client certificates, or a verification switched off.
	Others []string
}

// SASL tells whether credentials are asked for.
func (s Secured) SASL() bool { return strings.HasPrefix(s.Protocol, "SASL_") }

// TLS tells whether the connection is encrypted.
func (s Secured) TLS() bool { return strings.HasSuffix(s.Protocol, "SSL") }

// SecuredBy reads that from the consumer's configuration.
func SecuredBy(connection Connection) Secured {
	config := config("", connection)
	s := Secured{Protocol: strings.ToUpper(setting(config, "security.protocol")), CA: setting(config, "ssl.ca.location")}
	for _, name := range slices.Sorted(maps.Keys(connection.Extra)) {
		if (strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "enable.ssl.")) && name != "ssl.ca.location" {
			s.Others = append(s.Others, name)
		}
	}
	return s
}

func setting(config kafka.ConfigMap, name string) string {
	text, _ := config[name].(string)
	return text
}
