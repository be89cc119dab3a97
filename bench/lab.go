package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
)

// backend is a running Temporal server.
type backend interface {
	Address() string
	Client(ctx context.Context) (client.Client, error)
	CPU() (time.Duration, error) // the processor time of all its processes so far
	Close()
}

// lab is the environment that all cases share: a Temporal server, a Kafka broker and the
// built binaries.
type lab struct {
	temporal backend
	kafka    *devstack.Kafka
	bin      string
	dir      string
	events   int
	run      string // a prefix of every name, because workflow IDs outlive a case and a run
	named    int    // the number of names that were made
	seed     uint64 // that of the latest contact centre

	saturated float64 // the rate of the case ours in events/s; 0 until it is measured
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
		return devstack.StartTemporalOnPostgres(ctx)
	default:
		return nil, fmt.Errorf("-backend: there is no backend %q; choose dev or postgres", name)
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

// client connects to Temporal with the same options as ingest and worker.
func (l *lab) client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{
		HostPort:          l.temporal.Address(),
		DataConverter:     fanout.DataConverter(),
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}},
		Logger:            log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// warmUp runs two cases without measuring them, to fill the caches of the server and of
// the operating system.
func (l *lab) warmUp(ctx context.Context) error {
	for _, measure := range []measure{ceiling, ours(setup{targets: healthyTargets(3)})} {
		if _, err := measure(ctx, l, 0); err != nil {
			return err
		}
	}
	return nil
}

// uniqueName returns a name that nothing else has, in this run or in another.
func (l *lab) uniqueName(of string) string {
	l.named++
	return fmt.Sprintf("%s-%s-%d", l.run, of, l.named)
}

// naturalSize leaves the events of the contact centre at the size that they have.
const naturalSize = -1

// messages returns n events of a generated contact centre. Each call uses another
// contact centre, but the same ones in every run. Each event has about size bytes: a
// smaller one is padded, and one with more than twice as many is left out. If size is
// naturalSize, no event is changed or left out.
func (l *lab) messages(n, size int) []contactcentre.Event {
	l.seed++
	centre := contactcentre.New(l.seed, time.Now())
	events := make([]contactcentre.Event, 0, n)
	for len(events) < n {
		e := centre.Next()
		if size != naturalSize {
			e.Message = padded(e.Message, size)
		}
		if size == naturalSize || len(e.Message) <= 2*size {
			events = append(events, e)
		}
	}
	return events
}

// padded adds a member to a JSON object so that it has size bytes. It does not change an
// object that leaves no room for the member.
func padded(message []byte, size int) []byte {
	const member = `,"padding":"`
	missing := size - len(message) - len(member) - 1
	if missing < 0 {
		return message
	}
	return slices.Concat(message[:len(message)-1], []byte(member), bytes.Repeat([]byte("x"), missing), []byte(`"}`))
}
