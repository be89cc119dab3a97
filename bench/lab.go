package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/workflows"
)

// backend is a running Temporal server.
type backend interface {
	Address() string
	Client(ctx context.Context) (client.Client, error)
	CPU() (time.Duration, error) // used so far, by all of its processes
	Close()
}

// lab is what all cases share: one Temporal, one broker, the built binaries.
type lab struct {
	temporal backend
	kafka    *devstack.Kafka
	bin      string
	dir      string
	events   int
	run      string // in front of every name, since workflow IDs outlive a case
	named    int    // names given out
	seed     uint64 // of the contact centre that was opened last

	saturated float64 // events/s of ours, once measured
}

func newLab(ctx context.Context, o options) (_ *lab, err error) {
	l := &lab{events: o.events, run: fmt.Sprintf("b%06x", rand.N(1<<24))}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.bin, err = filepath.Abs(o.bin); err != nil {
		return nil, err
	}
	if l.dir, err = os.MkdirTemp("", "fanout-bench-"); err != nil {
		return nil, err
	}
	if l.temporal, err = startBackend(ctx, o.backend); err != nil {
		return nil, err
	}
	l.kafka, err = devstack.StartKafka(ctx, devstack.KafkaOptions{Backend: devstack.BackendKfake, Dir: l.dir})
	return l, err
}

func startBackend(ctx context.Context, name string) (backend, error) {
	switch name {
	case "dev":
		return devstack.StartTemporal(ctx, devstack.TemporalOptions{})
	case "postgres":
		return devstack.StartTemporalServer(ctx)
	default:
		return nil, fmt.Errorf("-backend %q is not known; choose dev or postgres", name)
	}
}

func (l *lab) close() {
	if l.kafka != nil {
		l.kafka.Close()
	}
	if l.temporal != nil {
		l.temporal.Close()
	}
	if l.dir != "" {
		_ = os.RemoveAll(l.dir)
	}
}

// client is connected as the fan-out's own processes are.
func (l *lab) client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{
		HostPort:          l.temporal.Address(),
		DataConverter:     workflows.DataConverter(),
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}},
		Logger:            log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// warmUp fills the caches of the server and of the operating system.
func (l *lab) warmUp(ctx context.Context) error {
	for _, measure := range []measure{ceiling, ours(setup{targets: healthy(3)})} {
		if _, err := measure(ctx, l, 0); err != nil {
			return err
		}
	}
	return nil
}

// name is one that nothing else has in this run or another.
func (l *lab) name(of string) string {
	l.named++
	return fmt.Sprintf("%s-%s-%d", l.run, of, l.named)
}

// asSeen is the size of events that are as large as a contact centre's are.
const asSeen = -1

// messages are n events of a made-up contact centre, another with each call and
// the same in every run. Each has about size bytes: a smaller one is padded, and one
// of more than twice that left out. With asSeen they stay as they are.
func (l *lab) messages(n, size int) []contactcentre.Event {
	l.seed++
	centre := contactcentre.New(l.seed, time.Now())
	events := make([]contactcentre.Event, 0, n)
	for len(events) < n {
		e := centre.Next()
		if size != asSeen {
			e.Message = padded(e.Message, size)
		}
		if size == asSeen || len(e.Message) <= 2*size {
			events = append(events, e)
		}
	}
	return events
}

// padded adds a member to a JSON object, so that it has size bytes, where there
// is room for one.
func padded(message []byte, size int) []byte {
	const member = `,"padding":"`
	missing := size - len(message) - len(member) - 1
	if missing < 0 {
		return message
	}
	out := append(make([]byte, 0, size), message[:len(message)-1]...)
	out = append(out, member...)
	for range missing {
		out = append(out, 'x')
	}
	return append(out, `"}`...)
}
