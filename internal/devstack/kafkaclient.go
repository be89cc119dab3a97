package devstack

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// metadataMinAge is how old the client's metadata may be before a wait asks the broker again. It is
// short, because a wait asks until the metadata has changed.
const metadataMinAge = 50 * time.Millisecond

// currentClient returns the client for the current password, and makes it if there is none.
func (k *Kafka) currentClient() (*kgo.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != nil {
		return k.client, nil
	}
	client, err := kgo.NewClient(append(k.clientOptions(k.password),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(maxMessage),
		kgo.AllowIdempotentProduceCancellation(), // else a Produce in an outage would outlive its context
		kgo.RetryTimeout(10*time.Second),
		kgo.MetadataMinAge(metadataMinAge),
	)...)
	k.client = client
	return client, err
}

// clientOptions are the options by which a client of this package connects to the broker.
func (k *Kafka) clientOptions(password string) []kgo.Opt {
	auth := scram.Auth{User: k.options.Username, Pass: password}
	if k.options.ACLs {
		auth = scram.Auth{User: superuser, Pass: k.adminPassword}
	}
	return []kgo.Opt{
		kgo.SeedBrokers(k.Bootstrap()),
		kgo.DialTLSConfig(k.certificates.clientConfig()),
		kgo.SASL(auth.AsSha512Mechanism()),
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
	}
}

// closeClient closes the current client. currentClient makes a new one.
func (k *Kafka) closeClient() {
	k.mu.Lock()
	client := k.client
	k.client = nil
	k.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// ping waits until the broker answers a request for metadata.
func (k *Kafka) ping(ctx context.Context) error {
	client, err := k.currentClient()
	if err != nil {
		return err
	}
	return awaitSuccess(ctx, "Kafka at "+k.Bootstrap(), func() (any, error) { return "", client.Ping(ctx) })
}

// admin returns an admin client for the current password.
func (k *Kafka) admin() (*kadm.Client, error) {
	client, err := k.currentClient()
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}
