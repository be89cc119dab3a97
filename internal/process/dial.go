package process

import (
	"context"
	"log/slog"
	"slices"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
)

// DialOptions are what Dial needs.
type DialOptions struct {
	Temporal      TemporalConfig
	Identity      string                  // of this process in Temporal; empty: the SDK's own
	DataConverter converter.DataConverter // nil: the SDK's own
	Metrics       client.MetricsHandler   // nil: none
	Log           *slog.Logger
	Health        *Health
	Polls         *PollMonitor // observes the polls of the client; nil: nothing does
}

// Dial connects to Temporal and returns once Temporal answers for the namespace. If
// Temporal does not answer, Dial tries again until ctx ends. If Temporal rejects the
// connection, the error is a *RejectedError. The caller closes the client.
func Dial(ctx context.Context, o DialOptions) (client.Client, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	address, namespace := o.Temporal.Options.HostPort, o.Temporal.Options.Namespace
	monitor := newNamespaceMonitor(describeNamespace(c, namespace), o.Health, o.Log.With("address", address, "namespace", namespace))
	if err := monitor.await(ctx); err != nil {
		c.Close()
		if rejected := rejectedError(o.Temporal, err); rejected != nil {
			return nil, rejected
		}
		return nil, err
	}
	return c, nil
}

// newClient makes a client, which connects with its first call.
func newClient(o DialOptions) (client.Client, error) {
	options := o.Temporal.Options
	options.Logger = TemporalLogger(o.Log)
	options.MetricsHandler = o.Metrics
	options.DataConverter = o.DataConverter
	options.Identity = o.Identity
	// By default the SDK compresses each request with gzip, and the server each answer. With
	// messages of 1 KB that cost a tenth of ingest's processor time and saved about 2 KB per
	// event.
	options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	if o.Polls != nil {
		options.ConnectionOptions.DialOptions = append(slices.Clone(options.ConnectionOptions.DialOptions),
			grpc.WithChainUnaryInterceptor(o.Polls.intercept))
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: &Problem{Variable: "TEMPORAL_ADDRESS", What: err.Error(), Cure: "correct Temporal's connection settings"}}
	}
	return c, nil
}
