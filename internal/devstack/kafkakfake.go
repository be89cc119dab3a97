package devstack

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfakeBroker is a broker in this process. An outage closes only its listener: the cluster keeps its
// data in memory and sees that no connection arrives for a while.
type kfakeBroker struct {
	listener *outageListener
	cluster  *kfake.Cluster
}

// maxMessage is message.max.bytes. It leaves room for messages over the limit that ingest accepts.
const maxMessage = 8 << 20

func startKfake(ctx context.Context, options KafkaOptions, users []account, certificates *certificates) (*kfakeBroker, error) {
	listener, err := newListener(ctx, 0)
	if err != nil {
		return nil, err
	}
	control := newSASLControl(options.Tokens)
	settings := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return listener, nil }),
		kfake.TLS(&tls.Config{GetCertificate: certificates.getCertificate, MinVersion: tls.VersionTLS12}),
		kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", users[0].name, users[0].password),
		kfake.Superuser("PLAIN", tokenUser, control.tokenUserPassword),
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
		_ = listener.Close()
		return nil, fmt.Errorf("start kfake: %w", err)
	}
	control.install(cluster)
	return &kfakeBroker{listener, cluster}, nil
}

func (b *kfakeBroker) bootstrap() string               { return b.listener.Addr().String() }
func (b *kfakeBroker) stop()                           { b.listener.closePort() }
func (b *kfakeBroker) start(ctx context.Context) error { return b.listener.openPort(ctx) }

func (b *kfakeBroker) disconnect(context.Context, string) error {
	b.listener.closeConnections()
	return nil
}

func (b *kfakeBroker) close() {
	b.cluster.Close()
	_ = b.listener.Close()
}

// Silence makes the broker keep its connections open and answer nothing, as behind a network that
// loses every packet. EndSilence ends it. It needs BackendKfake.
func (k *Kafka) Silence() error {
	b, ok := k.broker.(*kfakeBroker)
	if !ok {
		return fmt.Errorf("only the backend %s can be silent; this broker is %s", BackendKfake, k.Backend())
	}
	b.listener.beginSilence()
	return nil
}

// EndSilence ends a silence. What clients sent during it then arrives.
func (k *Kafka) EndSilence() {
	if b, ok := k.broker.(*kfakeBroker); ok {
		b.listener.endSilence()
	}
}

// Fault makes the broker answer requests with errors that are hard to cause otherwise, such as those
// of a coordinator that fails. It needs BackendKfake.
func (k *Kafka) Fault(faults ...kfake.Fault) (*kfake.FaultHandle, error) {
	b, ok := k.broker.(*kfakeBroker)
	if !ok {
		return nil, fmt.Errorf("only the backend %s can inject faults; this broker is %s", BackendKfake, k.Backend())
	}
	return b.cluster.Fault(faults...), nil
}
