package devstack

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfakeBroker runs in this process. An outage shuts its gate: the cluster keeps
// its data in memory and sees a pause between two connections.
type kfakeBroker struct {
	gate    *gate
	cluster *kfake.Cluster
}

func startKfake(ctx context.Context, options KafkaOptions, users []account, certificates *certificates) (*kfakeBroker, error) {
	gate, err := newGate(ctx, 0)
	if err != nil {
		return nil, err
	}
	gatekeeper := newGatekeeper(options.Tokens)
	settings := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return gate, nil }),
		kfake.TLS(&tls.Config{GetCertificate: certificates.get, MinVersion: tls.VersionTLS12}),
		kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", users[0].name, users[0].password),
		kfake.Superuser("PLAIN", bearer, gatekeeper.bearerPassword),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes":         fmt.Sprint(maxMessage),
			"connections.max.reauth.ms": fmt.Sprint(options.Reauthenticate.Milliseconds()),
		}),
	}
	if options.ACLs {
		settings = append(settings, kfake.EnableACLs(), kfake.User("SCRAM-SHA-512", users[1].name, users[1].password))
	}
	cluster, err := kfake.NewCluster(settings...)
	if err != nil {
		_ = gate.Close()
		return nil, fmt.Errorf("start kfake: %w", err)
	}
	gatekeeper.keep(cluster)
	return &kfakeBroker{gate, cluster}, nil
}

// Silence makes the broker keep its connections and answer nothing, as behind a
// network that loses every packet; EndSilence ends it. It takes BackendKfake.
func (k *Kafka) Silence() error {
	b, ok := k.broker.(*kfakeBroker)
	if !ok {
		return fmt.Errorf("silence takes %s; the broker is %s", BackendKfake, k.Backend())
	}
	b.gate.silence()
	return nil
}

// EndSilence ends a silence.
func (k *Kafka) EndSilence() {
	if b, ok := k.broker.(*kfakeBroker); ok {
		b.gate.speak()
	}
}

// maxMessage leaves room for messages over the limit that ingest refuses.
const maxMessage = 8 << 20

func (b *kfakeBroker) bootstrap() string               { return b.gate.Addr().String() }
func (b *kfakeBroker) stop()                           { b.gate.shut() }
func (b *kfakeBroker) start(ctx context.Context) error { return b.gate.open(ctx) }

func (b *kfakeBroker) disconnect(context.Context, string) error {
	b.gate.drop()
	return nil
}

// Fault makes the broker refuse requests, as Kafka would for reasons that cannot
// be had at will: an ACL, a coordinator that fails. It takes BackendKfake.
func (k *Kafka) Fault(faults ...kfake.Fault) (*kfake.FaultHandle, error) {
	b, ok := k.broker.(*kfakeBroker)
	if !ok {
		return nil, fmt.Errorf("faults take %s; the broker is %s", BackendKfake, k.Backend())
	}
	return b.cluster.Fault(faults...), nil
}

func (b *kfakeBroker) close() {
	b.cluster.Close()
	_ = b.gate.Close()
}
