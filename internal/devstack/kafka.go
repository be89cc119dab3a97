package devstack

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The kinds of brokers that StartKafka can start.
const (
	BackendKfake  = "kfake"  // in memory, in this process; the default
	BackendApache = "apache" // Apache Kafka on the Java of this machine
)

// KafkaOptions say which broker to start.
type KafkaOptions struct {
	// Backend is BackendKfake or BackendApache; default $E2E_KAFKA, else kfake.
	Backend string
	// Dir is the folder for the certificates and, with Apache Kafka, for the log. Required.
	Dir string
	// Username and Password of the one user; default "fanout" and a random password.
	Username, Password string
	// Port of the broker, and Advertised, the host:port that it tells its clients to connect to, such as
	// that of a proxy; by default a free port and the same. Both need BackendApache.
	Port       int
	Advertised string
	// Certificate of the broker; default a valid one.
	Certificate Certificate
	// Topics to create at the start, with their number of partitions.
	Topics map[string]int32
	// ACLs makes the broker check the user's rights. The user may do everything except for what
	// DenyRead forbids.
	ACLs bool
	// Reauthenticate is connections.max.reauth.ms: a client must authenticate again on each
	// connection within this time. If it is zero, clients need not.
	Reauthenticate time.Duration
	// Tokens is the endpoint whose tokens the broker accepts by OAUTHBEARER, in addition to the one
	// user. If it is nil, the broker accepts no token.
	Tokens *TokenEndpoint
}

// Kafka is one broker that requires SASL_SSL with SCRAM-SHA-512, and does not create topics by
// itself.
type Kafka struct {
	options      KafkaOptions
	certificates *certificates
	broker       broker

	adminPassword string // of the superuser; used only with ACLs

	mu       sync.Mutex
	password string
	client   *kgo.Client // nil until it is needed, and again after the password has changed
}

// broker is the part of a broker in which the backends differ.
type broker interface {
	bootstrap() string
	// stop begins an outage: the port is closed and every connection breaks.
	stop()
	// start ends the outage. Address, data and users are as before.
	start(ctx context.Context) error
	// disconnect breaks all open connections. A backend that must restart to do so needs the password.
	disconnect(ctx context.Context, password string) error
	close()
}

// StartKafka starts a broker and returns when the broker answers requests.
func StartKafka(ctx context.Context, options KafkaOptions) (*Kafka, error) {
	options.Backend = cmp.Or(options.Backend, os.Getenv("E2E_KAFKA"), BackendKfake)
	options.Username = cmp.Or(options.Username, "fanout")
	options.Password = cmp.Or(options.Password, rand.Text())
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
		// A temporary password, which prepare changes to the real one: saslControl knows a password
		// only if it has seen the request that set it.
		k.password = rand.Text()
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

// prepare waits for the broker, and creates its password, rights and topics.
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

// Backend returns BackendKfake or BackendApache.
func (k *Kafka) Backend() string { return k.options.Backend }

// Bootstrap returns the broker's host:port, the value of KAFKA_BOOTSTRAP_SERVERS.
func (k *Kafka) Bootstrap() string { return k.broker.bootstrap() }

// Username returns the SASL user.
func (k *Kafka) Username() string { return k.options.Username }

// Password returns the current SASL password.
func (k *Kafka) Password() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.password
}

// CAFile returns the path of the certificate authority in PEM, the value of KAFKA_SSL_CA_LOCATION.
func (k *Kafka) CAFile() string { return k.certificates.caFile }

// Settings returns the settings, as NAME=value, of an ingest that consumes topics as a group. Topics
// are separated by commas.
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

// Start ends an outage, on the same address and with the same data. It returns when the broker
// answers requests.
func (k *Kafka) Start(ctx context.Context) error {
	if err := k.broker.start(ctx); err != nil {
		return err
	}
	return k.ping(ctx)
}

// RenewCertificates gives the broker a certificate of a new authority, writes that authority to
// CAFile, and breaks every connection.
func (k *Kafka) RenewCertificates(ctx context.Context) error {
	renewed, err := newCertificates(k.options.Dir, k.options.Certificate)
	if err != nil {
		return err
	}
	k.certificates.replace(renewed)
	k.closeClient()
	if err := k.broker.disconnect(ctx, k.users()[0].password); err != nil {
		return err
	}
	return k.ping(ctx)
}

// Close ends the broker.
func (k *Kafka) Close() {
	k.closeClient()
	k.broker.close()
}
