package preflight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"genesys-fanout/internal/process"
)

// CheckTemporal is the name of the check of address, credentials and namespace. A check that
// needs the namespace has CheckTemporal in its After.
const CheckTemporal = "temporal"

// TemporalChecks are the checks of the Temporal server that a process uses.
type TemporalChecks struct {
	options process.TemporalConfig
	keys    []temporal.SearchAttributeKey
	probe   *process.TemporalProbe

	// Retention is how long the namespace keeps closed runs. It is set when CheckTemporal has
	// succeeded, and 0 if the server does not say.
	Retention time.Duration
}

// NewTemporalChecks returns the checks for a server. keys are the search attributes of runs. The
// caller closes the TemporalChecks.
func NewTemporalChecks(options process.TemporalConfig, keys []temporal.SearchAttributeKey) (*TemporalChecks, error) {
	probe, err := process.NewTemporalProbe(process.DialOptions{Temporal: options, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &TemporalChecks{options: options, keys: keys, probe: probe}, nil
}

// Close closes the connection.
func (t *TemporalChecks) Close() { t.probe.Close() }

// Checks returns the check of the server and the check of the search attributes.
func (t *TemporalChecks) Checks() []Check {
	return []Check{
		{Name: CheckTemporal, Run: t.namespace},
		{Name: "search attributes", After: []string{CheckTemporal}, Run: t.searchAttributes},
	}
}

// describeLimit bounds the call DescribeNamespace. If the call gets no answer, the rest of
// DefaultBound is for Reach, which finds out why.
const describeLimit = 6 * time.Second

func (t *TemporalChecks) namespace(ctx context.Context) []Result {
	limited, cancel := context.WithTimeout(ctx, describeLimit)
	defer cancel()
	retention, err := t.probe.Namespace(limited)
	if err != nil {
		return []Result{t.explain(ctx, err)}
	}
	t.Retention = retention
	o := t.options.Options
	return []Result{Pass("%s answers for namespace %q, which keeps closed runs for %s", o.HostPort, o.Namespace, FormatDays(retention))}
}

// explain returns the failed result for an error of TemporalProbe.Namespace. If the server did
// not answer, explain makes a connection of its own, because gRPC reports the cause of a failed
// connection only as text.
func (t *TemporalChecks) explain(ctx context.Context, err error) Result {
	if rejected, ok := errors.AsType[*process.RejectedError](err); ok {
		return Fail(rejected.What(), rejected.Cure())
	}
	o := t.options.Options
	var failed *ReachError
	if dialedDirectly(o.HostPort) {
		_, dialErr := Reach(ctx, o.HostPort, o.ConnectionOptions.TLS)
		errors.As(dialErr, &failed)
	}
	if failed == nil {
		return Fail(err.Error(), "check that TEMPORAL_ADDRESS is a Temporal frontend, and whether it needs TLS (TEMPORAL_TLS, TEMPORAL_API_KEY)")
	}
	return Fail(failed.Error(), map[Step]string{
		Resolve:   "correct the host in TEMPORAL_ADDRESS, and check this machine's DNS",
		Connect:   "correct TEMPORAL_ADDRESS, and check that the server runs and that no firewall blocks its port",
		Untrusted: "name the CA of the server's certificate in TEMPORAL_TLS_SERVER_CA_CERT_PATH",
		Expired:   "renew the server's certificate, or correct this machine's clock",
		OtherHost: "correct the host in TEMPORAL_ADDRESS, or set TEMPORAL_TLS_SERVER_NAME to the host of the certificate",
		Handshake: "correct the port in TEMPORAL_ADDRESS, or set TEMPORAL_TLS=false if the server does not speak TLS",
	}[failed.Step])
}

// dialedDirectly reports whether gRPC dials the address itself, without one of its resolvers
// and without a proxy.
func dialedDirectly(address string) bool {
	if strings.Contains(address, "/") {
		return false
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	return err == nil && proxy == nil
}

func (t *TemporalChecks) searchAttributes(ctx context.Context) []Result {
	var wanted []string
	for _, key := range t.keys {
		wanted = append(wanted, key.GetName())
	}
	all := strings.Join(wanted, ", ")
	found := t.probe.SearchAttributes(ctx, t.keys)
	switch {
	case found.Err != nil:
		return []Result{Warn("runs cannot be searched by "+all+": "+found.Err.Error(), "run: "+found.Command)}
	case len(found.Missing) > 0:
		return []Result{Pass("%s are not registered yet; the process registers them at its start", strings.Join(found.Missing, ", "))}
	}
	return []Result{Pass("%s", all)}
}

// FormatDays formats a duration, in days if it is a whole number of days.
func FormatDays(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "an unknown time"
	case d == day:
		return "1 day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
