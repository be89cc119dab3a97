package devstack

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The brokers that StartKafka knows.
const (
	BackendKfake  = "kfake"  // in memory, in this process; the default
	BackendApache = "apache" // Apache Kafka on the Java of this machine
)

// KafkaOptions say which broker to run.
type KafkaOptions struct {
	// Backend is BackendKfake or BackendApache; default $E2E_KAFKA, else kfake.
	Backend string
	// Dir keeps certificates and, of Apache Kafka, the log. Required.
	Dir string
	// Username and Password of the one user; default "fanout" and a random one.
	Username, Password string
	// Certificate of the broker; default a valid one.
	Certificate Certificate
	// Topics to create at the start, with their number of partitions.
	Topics map[string]int32
	// ACLs lets the broker check what the user may do, which is everything but what
	// DenyRead takes from it.
	ACLs bool
	// Reauthenticate is connections.max.reauth.ms: clients must authenticate anew
	// on each connection within this time. Zero: never.
	Reauthenticate time.Duration
	// Tokens, where set, is the endpoint whose tokens the broker accepts by
	// OAUTHBEARER, beside the one user.
	Tokens *TokenEndpoint
}

// Kafka is one broker that wants SASL_SSL with SCRAM-SHA-512 and creates no
// topic on its own.
type Kafka struct {
	options      KafkaOptions
	certificates *certificates
	broker       broker

	adminPassword string // of the superuser, where there are ACLs

	mu       sync.Mutex
	password string
	client   *kgo.Client // made when first needed, anew after a rotation
}

// broker is what the two backends do differently.
type broker interface {
	bootstrap() string
	// stop is an outage: nobody is served, every connection breaks.
	stop()
	// start ends the outage, with address, data and users as before.
	start(ctx context.Context) error
	// disconnect breaks the connections of now. The password is for a backend
	// that must restart to do so.
	disconnect(ctx context.Context, password string) error
	close()
}

// StartKafka starts a broker and returns when it answers.
func StartKafka(ctx context.Context, options KafkaOptions) (*Kafka, error) {
	options.Backend = orDefault(orDefault(options.Backend, os.Getenv("E2E_KAFKA")), BackendKfake)
	options.Username = orDefault(options.Username, "fanout")
	options.Password = orDefault(options.Password, rand.Text())
	if options.Dir == "" {
		return nil, fmt.Errorf("start Kafka: Dir is empty; name a directory for its files")
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, err
	}
	certificates, err := newCertificates(options.Dir, options.Certificate)
	if err != nil {
		return nil, err
	}
	k := &Kafka{options: options, certificates: certificates, password: options.Password, adminPassword: rand.Text()}
	switch options.Backend {
	case BackendKfake:
		k.password = rand.Text() // until prepare: kfake's gatekeeper learns only from changes
		k.broker, err = startKfake(ctx, options, k.users(), certificates)
	case BackendApache:
		k.broker, err = startApache(ctx, options, k.users(), certificates)
	default:
		err = fmt.Errorf("E2E_KAFKA is %q; use %q or %q", options.Backend, BackendKfake, BackendApache)
	}
	if err != nil {
		return nil, err
	}
	if err := k.prepare(ctx); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func (k *Kafka) prepare(ctx context.Context) error {
	if err := k.ping(ctx); err != nil {
		return err
	}
	if k.Password() != k.options.Password {
		if err := k.SetPassword(ctx, k.options.Password); err != nil {
			return err
		}
	}
	if k.options.ACLs {
		if err := k.allowEverything(ctx); err != nil {
			return err
		}
	}
	for topic, partitions := range k.options.Topics {
		if err := k.CreateTopic(ctx, topic, partitions); err != nil {
			return err
		}
	}
	return nil
}

// account is a user that the broker knows.
type account struct{ name, password string }

// users are those that the broker knows. The first is a superuser, as which this
// package speaks with the broker.
func (k *Kafka) users() []account {
	one := account{k.options.Username, k.Password()}
	if !k.options.ACLs {
		return []account{one}
	}
	return []account{{admin, k.adminPassword}, one}
}

// Backend is the name of the broker that runs.
func (k *Kafka) Backend() string { return k.options.Backend }

// Bootstrap is the broker's host:port, as for KAFKA_BOOTSTRAP_SERVERS.
func (k *Kafka) Bootstrap() string { return k.broker.bootstrap() }

// Username is the SASL user.
func (k *Kafka) Username() string { return k.options.Username }

// Password is the SASL password of now.
func (k *Kafka) Password() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.password
}

// CAFile is the authority's certificate in PEM, as for KAFKA_SSL_CA_LOCATION.
func (k *Kafka) CAFile() string { return k.certificates.caFile }

// Settings are those of an ingest that consumes topics, with commas, as a group.
func (k *Kafka) Settings(topics, group string) []string {
	return []string{
		"KAFKA_BOOTSTRAP_SERVERS=" + k.Bootstrap(),
		"KAFKA_SASL_USERNAME=" + k.Username(),
		"KAFKA_SASL_PASSWORD=" + k.Password(),
		"KAFKA_SSL_CA_LOCATION=" + k.CAFile(),
		"KAFKA_TOPIC=" + topics,
		"KAFKA_GROUP_ID=" + group,
	}
}

// Stop begins an outage: the port is closed and every connection breaks.
func (k *Kafka) Stop() { k.broker.stop() }

// Start ends an outage: the same address with the same data. It returns when
// the broker answers.
func (k *Kafka) Start(ctx context.Context) error {
	if err := k.broker.start(ctx); err != nil {
		return err
	}
	return k.ping(ctx)
}

// RenewCertificates gives the broker a certificate of a new authority, writes that
// authority to CAFile, and breaks every connection.
func (k *Kafka) RenewCertificates(ctx context.Context) error {
	renewed, err := newCertificates(k.options.Dir, k.options.Certificate)
	if err != nil {
		return err
	}
	k.certificates.replace(renewed)
	k.forget()
	if err := k.broker.disconnect(ctx, k.users()[0].password); err != nil {
		return err
	}
	return k.ping(ctx)
}

// Close ends the broker.
func (k *Kafka) Close() {
	k.forget()
	k.broker.close()
}
