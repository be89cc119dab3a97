package process

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// CheckTemporal is the name of the health check that Dial and Watch report to.
const CheckTemporal = "temporal"

const (
	// A Temporal that is lost must show in /readyz within 20 s: in the worst case
	// one interval passes and then one call runs into its timeout.
	probeInterval = 5 * time.Second
	probeTimeout  = 5 * time.Second

	retryInterval  = time.Second      // while it is away; gRPC itself reconnects at most every 10 s
	remindInterval = 30 * time.Second // between two log lines about the same outage

	// A server that just started may not know its namespaces yet: it has to say
	// so for this long before it is believed.
	refusalPatience = 10 * time.Second
)

// DialOptions is what Dial needs beside the settings.
type DialOptions struct {
	Temporal      TemporalConfig
	DataConverter converter.DataConverter // nil: the SDK's own
	Metrics       client.MetricsHandler   // nil: none
	Log           *slog.Logger
	Health        *Health
	Polls         *PollMonitor // nil: nobody looks at them
}

// RejectedError is Temporal's word that no waiting will cure: the credentials or the
// namespace are wrong.
type RejectedError struct {
	Address   string
	Namespace string
	Code      codes.Code
	Err       error // what Temporal answered
}

// Error says what was asked, what came back and what to do.
func (r *RejectedError) Error() string { return r.What() + "; " + r.Cure() }

// What says what was asked and what came back.
func (r *RejectedError) What() string {
	return fmt.Sprintf("Temporal at %s refused DescribeNamespace %q: %s: %s", r.Address, r.Namespace, r.Code, message(r.Err))
}

// Unwrap gives Temporal's answer.
func (r *RejectedError) Unwrap() error { return r.Err }

// Cure says what to do.
func (r *RejectedError) Cure() string {
	switch r.Code {
	case codes.Unauthenticated, codes.PermissionDenied:
		return "correct TEMPORAL_API_KEY, or the client certificate in TEMPORAL_TLS_*, and see that it may use TEMPORAL_NAMESPACE"
	case codes.Unimplemented:
		return "correct TEMPORAL_ADDRESS: what answers there is no Temporal frontend"
	default:
		return "correct TEMPORAL_NAMESPACE or create the namespace; TEMPORAL_ADDRESS says where it is looked for"
	}
}

// Dial connects to Temporal and returns once it answers for the namespace. An
// unreachable Temporal is waited for until ctx ends; a refused connection
// is a *RejectedError. The caller closes the client.
func Dial(ctx context.Context, conn DialOptions) (client.Client, error) {
	c, err := newClient(conn)
	if err != nil {
		return nil, err
	}
	options := conn.Temporal.Options
	door := door{
		probe:  namespaceProbe(c, options.Namespace),
		health: conn.Health,
		outage: temporalOutage(conn.Log.With("address", options.HostPort, "namespace", options.Namespace)),
	}
	if err := door.await(ctx); err != nil {
		c.Close()
		if refusal := refusalOf(conn.Temporal, err); refusal != nil {
			return nil, refusal
		}
		return nil, err
	}
	return c, nil
}

// newClient makes the client and connects to nothing.
func newClient(conn DialOptions) (client.Client, error) {
	options := conn.Temporal.Options
	options.Logger = TemporalLogger(conn.Log)
	options.MetricsHandler = conn.Metrics
	options.DataConverter = conn.DataConverter
	// The SDK would gzip each request, and the server each answer: with messages of
	// 1 KB that cost a tenth of ingest's processor time to save some 2 KB per event.
	options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	if conn.Polls != nil {
		options.ConnectionOptions.DialOptions = append(slices.Clone(options.ConnectionOptions.DialOptions),
			grpc.WithChainUnaryInterceptor(conn.Polls.intercept))
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: Problem{"TEMPORAL_ADDRESS", err.Error(), "correct Temporal's connection settings"}}
	}
	return c, nil
}

// refusalOf is nil for an answer that may pass.
func refusalOf(temporal TemporalConfig, err error) *RejectedError {
	code, refused := refusalCode(err)
	if !refused {
		return nil
	}
	return &RejectedError{Address: temporal.Options.HostPort, Namespace: temporal.Options.Namespace, Code: code, Err: err}
}

// WatchTemporal keeps the health check CheckTemporal true until ctx ends: Temporal is
// asked every 5 s. It logs only changes, and every 30 s that an outage goes on.
func WatchTemporal(ctx context.Context, c client.Client, namespace string, health *Health, log *slog.Logger) {
	door := door{
		probe:  namespaceProbe(c, namespace),
		health: health,
		outage: temporalOutage(log.With("namespace", namespace)),
	}
	door.watch(ctx)
}

// namespaceProbe asks for the namespace: unlike a health check of gRPC, that
// takes the server's database, the credentials and the namespace to answer.
func namespaceProbe(c client.Client, namespace string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
		return err
	}
}

// door is Temporal as seen from outside: it answers a probe or it does not.
type door struct {
	probe  func(context.Context) error
	health *Health
	outage outage
}

// await returns when the probe succeeds, when ctx ends, or with the answer of
// a Temporal that refuses.
func (d *door) await(ctx context.Context) error {
	var refusedSince time.Time
	for {
		err := d.ask(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if code, refused := refusalCode(err); !refused {
			refusedSince = time.Time{}
		} else {
			if refusedSince.IsZero() {
				refusedSince = time.Now()
			}
			if time.Since(refusedSince) >= patience(code) {
				return err
			}
		}
		if !pause(ctx, retryInterval) {
			return ctx.Err()
		}
	}
}

func (d *door) watch(ctx context.Context) {
	interval := probeInterval
	for pause(ctx, interval) {
		interval = probeInterval
		if d.ask(ctx) != nil {
			interval = retryInterval
		}
	}
}

// ask probes once and tells health and log what came of it.
func (d *door) ask(ctx context.Context) error {
	err := d.probe(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // a probe that was broken off says nothing about Temporal
	}
	if err == nil {
		d.health.Set(CheckTemporal, nil)
		d.outage.over()
		return nil
	}
	d.health.Set(CheckTemporal, fmt.Errorf("%s: %s", codeOf(err), message(err)))
	d.outage.goesOn("code", codeOf(err).String(), "error", message(err))
	return err
}

// refusalCode tells whether an answer is one that no waiting cures.
func refusalCode(err error) (codes.Code, bool) {
	code := codeOf(err)
	switch code {
	case codes.Unauthenticated, codes.PermissionDenied, codes.NotFound, codes.InvalidArgument, codes.Unimplemented:
		return code, true
	default:
		return code, false
	}
}

// patience is how long a refusal must last before it counts.
func patience(code codes.Code) time.Duration {
	if code == codes.Unauthenticated || code == codes.PermissionDenied {
		return 0
	}
	return refusalPatience
}

// outage logs one outage: when it begins, every remindInterval, and its end.
type outage struct {
	log           *slog.Logger
	waiting, back string // what it logs
	began         time.Time
	nextRemind    time.Time
}

func newOutage(log *slog.Logger, waiting, back string) outage {
	return outage{log: log, waiting: waiting, back: back}
}

func temporalOutage(log *slog.Logger) outage {
	return newOutage(log, "waiting for Temporal", "Temporal answers again")
}

func (o *outage) goesOn(details ...any) {
	now := time.Now()
	if o.began.IsZero() {
		o.began = now
	} else if now.Before(o.nextRemind) {
		return
	}
	o.nextRemind = now.Add(remindInterval)
	o.log.Warn(o.waiting, append([]any{"for", now.Sub(o.began).Round(time.Second)}, details...)...)
}

func (o *outage) over() {
	if o.began.IsZero() {
		return
	}
	o.log.Info(o.back, "after", time.Since(o.began).Round(time.Second))
	o.began = time.Time{}
}

// codeOf reads the gRPC code, which the SDK hides behind types of its own.
func codeOf(err error) codes.Code { return serviceerror.ToStatus(err).Code() }

func message(err error) string { return serviceerror.ToStatus(err).Message() }

// pause waits and reports whether ctx is still alive.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
