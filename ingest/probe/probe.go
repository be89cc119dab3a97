// Package probe asks the Kafka brokers what a preflight reports: whether they accept the
// credentials, and the state of topics and of the consumer group. It uses the configuration
// that the consumer gets.
//
// The package refuses to change anything: it subscribes to no topic, so it joins no group, and
// it creates no topic by asking for it.
package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"genesys-fanout/ingest"
)

// Probe is a client of the brokers. Close frees it.
type Probe struct {
	group      string
	latest     bool // KAFKA_AUTO_OFFSET_RESET
	connection ingest.Connection
	consumer   *kafka.Consumer
	admin      *kafka.AdminClient

	polling  sync.WaitGroup
	logging  sync.WaitGroup
	stop     context.CancelFunc
	rejected context.Context // canceled if the brokers reject the credentials, with the error as its cause

	mu      sync.Mutex
	lastErr error // the error of librdkafka that says most; "all brokers are down" replaces no other
}

// Options are those options of ingest that a Probe needs.
type Options struct {
	GroupID string
	Reset   string // earliest or latest
}

// New returns a Probe, which begins to connect.
func New(o Options, connection ingest.Connection) (*Probe, error) {
	config := ingest.ConsumerConfig(o.GroupID, connection)
	config["allow.auto.create.topics"] = false
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("create the Kafka client: %w", connection.RedactError(err))
	}
	admin, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create the Kafka admin client: %w", err), consumer.Close())
	}
	polling, stop := context.WithCancel(context.Background())
	rejected, reject := context.WithCancelCause(polling)
	p := &Probe{
		group: o.GroupID, latest: o.Reset == "latest", connection: connection, consumer: consumer, admin: admin, stop: stop, rejected: rejected,
	}
	p.logging.Go(func() {
		for range consumer.Logs() { // these lines are reported as errors too; unread they would go to standard error
		}
	})
	p.polling.Go(func() { p.poll(polling, reject) })
	return p, nil
}

// Close frees the client. It may take as long as an attempt to connect that is under way.
func (p *Probe) Close() {
	p.stop()
	p.polling.Wait()
	p.admin.Close()
	_ = p.consumer.Close() // nothing was consumed, so an error loses nothing
	p.logging.Wait()
}

// pollWait bounds one poll.
const pollWait = 100 * time.Millisecond

// poll collects the errors that librdkafka reports. Rejected credentials are reported only
// there.
func (p *Probe) poll(ctx context.Context, reject context.CancelCauseFunc) {
	for ctx.Err() == nil {
		e, ok := p.consumer.Poll(int(pollWait / time.Millisecond)).(kafka.Error)
		if !ok {
			continue
		}
		err := p.connection.RedactError(e)
		p.mu.Lock()
		if p.lastErr == nil || e.Code() != kafka.ErrAllBrokersDown { // says less than the errors before it
			p.lastErr = err
		}
		p.mu.Unlock()
		if ingest.IsAuthenticationError(err) {
			reject(err)
		}
	}
}

// ask sends a request. It ends the request early if the brokers reject the credentials. If
// nobody answers, the error includes what librdkafka reported meanwhile.
func (p *Probe) ask(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.rejected, func() { cancel(context.Cause(p.rejected)) })()
	err := request(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); ingest.IsAuthenticationError(cause) {
		return cause
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastErr != nil {
		return fmt.Errorf("no answer in time: %w", p.lastErr)
	}
	return errors.New("no answer in time")
}

// metadataWait bounds one request for metadata, which ignores contexts.
const metadataWait = 500 * time.Millisecond

// Authenticate returns how many brokers there are. They answer only if they accept the
// credentials, or if no SASL is configured. It asks for metadata and does not describe the
// cluster, because librdkafka ends the process with a segmentation fault if the brokers
// report no id of their cluster.
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
			if !retryable(err) {
				return err
			}
		}
	})
	return brokers, err
}

// retryable reports whether the brokers may still answer after an error.
func retryable(err error) bool {
	e, ok := errors.AsType[kafka.Error](err)
	if !ok {
		return false
	}
	switch e.Code() {
	case kafka.ErrTimedOut, kafka.ErrTransport, kafka.ErrAllBrokersDown:
		return true
	}
	return false
}
