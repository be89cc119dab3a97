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

// CheckTemporal is the check of address, credentials and namespace. What needs the
// namespace stands After it.
const CheckTemporal = "temporal"

// TemporalChecks checks the server that a process is to use.
type TemporalChecks struct {
	options process.TemporalConfig
	keys    []temporal.SearchAttributeKey
	probe   *process.TemporalProbe

	// Retention is how long the namespace keeps closed runs, once CheckTemporal
	// has passed; 0 where it does not say.
	Retention time.Duration
}

// NewTemporalChecks prepares the checks; keys are the search attributes of a run. The
// caller closes it.
func NewTemporalChecks(options process.TemporalConfig, keys []temporal.SearchAttributeKey) (*TemporalChecks, error) {
	probe, err := process.NewTemporalProbe(process.DialOptions{Temporal: options, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &TemporalChecks{options: options, keys: keys, probe: probe}, nil
}

// Close ends the connection.
func (t *TemporalChecks) Close() { t.probe.Close() }

// Checks are those of the server and of the search attributes.
func (t *TemporalChecks) Checks() []Check {
	return []Check{
		{Name: CheckTemporal, Run: t.namespace},
		{Name: "search attributes", After: []string{CheckTemporal}, Run: t.searchAttributes},
	}
}

// askBound is for the question itself. What is left of DefaultBound is for finding
// out why nothing answered.
const askBound = 6 * time.Second

func (t *TemporalChecks) namespace(ctx context.Context) []Result {
	asking, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	retention, err := t.probe.Namespace(asking)
	if err != nil {
		return []Result{t.refused(ctx, err)}
	}
	t.Retention = retention
	o := t.options.Options
	return []Result{Pass("%s answers for namespace %q, which keeps closed runs for %s", o.HostPort, o.Namespace, FormatDays(retention))}
}

// refused explains why the namespace was not answered for. Where nothing answered,
// a connection of our own tells more than gRPC, whose errors are texts.
func (t *TemporalChecks) refused(ctx context.Context, err error) Result {
	if refusal, ok := errors.AsType[*process.RejectedError](err); ok {
		return Fail(refusal.What(), refusal.Cure())
	}
	o := t.options.Options
	var fault *ReachError
	if direct(o.HostPort) {
		_, dialErr := Reach(ctx, o.HostPort, o.ConnectionOptions.TLS)
		errors.As(dialErr, &fault)
	}
	if fault == nil {
		return Fail(err.Error(), "see that TEMPORAL_ADDRESS is a Temporal frontend, and whether it speaks TLS (TEMPORAL_TLS, TEMPORAL_API_KEY)")
	}
	return Fail(fault.Error(), map[Step]string{
		Resolve:   "correct the host in TEMPORAL_ADDRESS, and check this machine's DNS",
		Connect:   "correct TEMPORAL_ADDRESS, see that the server runs and that a firewall lets its port through",
		Untrusted: "name the CA of the server's certificate in TEMPORAL_TLS_SERVER_CA_CERT_PATH",
		OutOfTime: "renew the server's certificate, or correct this machine's clock",
		OtherHost: "correct the host in TEMPORAL_ADDRESS, or name the certificate's in TEMPORAL_TLS_SERVER_NAME",
		Handshake: "see that the port in TEMPORAL_ADDRESS speaks TLS; TEMPORAL_TLS=false is for one that does not",
	}[fault.Step])
}

// direct tells whether gRPC dials the address itself: not by a resolver of its
// own, nor through a proxy.
func direct(address string) bool {
	if strings.Contains(address, "/") {
		return false
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	return err == nil && proxy == nil
}

func (t *TemporalChecks) searchAttributes(ctx context.Context) []Result {
	var all []string
	for _, key := range t.keys {
		all = append(all, key.GetName())
	}
	found := t.probe.SearchAttributes(ctx, t.keys)
	switch {
	case found.Err != nil:
		return []Result{Warn("runs could not be searched by "+list(all)+": "+found.Err.Error(), "run: "+found.Command)}
	case len(found.Missing) > 0:
		return []Result{Pass("%s are not registered yet: the process registers them at its start", list(found.Missing))}
	}
	return []Result{Pass("%s", list(all))}
}

// FormatDays writes a duration in whole days where it is one.
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
