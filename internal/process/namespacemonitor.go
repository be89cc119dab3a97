package process

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"

	"genesys-fanout/internal/outage"
)

// CheckTemporal is the name of the health check that Dial and WatchTemporal set.
const CheckTemporal = "temporal"

const (
	// /readyz must show within 20 s that Temporal is lost. In the worst case one interval
	// passes, and then one call runs into its timeout.
	probeInterval = 5 * time.Second
	probeTimeout  = 5 * time.Second

	// retryInterval is the interval while Temporal does not answer. gRPC itself reconnects
	// every 10 s at most.
	retryInterval = time.Second

	// rejectionPatience is how long Temporal must reject a namespace before the rejection is
	// final, because a server that has just started may not know its namespaces yet.
	rejectionPatience = 10 * time.Second
)

// WatchTemporal calls Temporal every 5 s and sets the health check CheckTemporal, until ctx
// ends. It logs the beginning of an outage, every 30 s while it lasts, and its end.
func WatchTemporal(ctx context.Context, c client.Client, namespace string, health *Health, log *slog.Logger) {
	newNamespaceMonitor(describeNamespace(c, namespace), health, log.With("namespace", namespace)).watch(ctx)
}

// describeNamespace returns a probe of Temporal. Unlike a health check of gRPC, it succeeds
// only if the server's database works and the credentials and the namespace are right.
func describeNamespace(c client.Client, namespace string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		return err
	}
}

// namespaceMonitor probes Temporal's namespace, and reports the result to /readyz and to the
// log.
type namespaceMonitor struct {
	probe  func(context.Context) error
	health *Health
	outage *outage.Outage
}

func newNamespaceMonitor(probe func(context.Context) error, health *Health, log *slog.Logger) *namespaceMonitor {
	return &namespaceMonitor{probe: probe, health: health, outage: outage.New(
		func(r outage.Report) {
			log.Warn("waiting for Temporal", "for", r.Age, "code", codeOf(r.Err).String(), "error", messageOf(r.Err))
		},
		func(r outage.Report) { log.Info("Temporal answers again", "after", r.Age) },
	)}
}

// await returns nil once a probe succeeds. The error is that of ctx, or an answer that
// rejects the connection.
func (m *namespaceMonitor) await(ctx context.Context) error {
	var rejectedSince time.Time
	for {
		err := m.check(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if code, rejected := rejectedCode(err); !rejected {
			rejectedSince = time.Time{}
		} else {
			if rejectedSince.IsZero() {
				rejectedSince = time.Now()
			}
			if time.Since(rejectedSince) >= patienceFor(code) {
				return err
			}
		}
		if !pause(ctx, retryInterval) {
			return ctx.Err()
		}
	}
}

// patienceFor returns how long Temporal must answer with the code before the rejection is final.
func patienceFor(code codes.Code) time.Duration {
	if code == codes.Unauthenticated || code == codes.PermissionDenied {
		return 0
	}
	return rejectionPatience
}

// watch probes until ctx ends.
func (m *namespaceMonitor) watch(ctx context.Context) {
	interval := probeInterval
	for pause(ctx, interval) {
		interval = probeInterval
		if m.check(ctx) != nil {
			interval = retryInterval
		}
	}
}

// check probes once and reports the result.
func (m *namespaceMonitor) check(ctx context.Context) error {
	err := m.probe(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // the end of ctx broke the probe off, so the result says nothing about Temporal
	}
	m.outage.Observe(err)
	if err != nil {
		m.health.Set(CheckTemporal, withCode(err))
		return err
	}
	m.health.Set(CheckTemporal, nil)
	return nil
}
