package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/process"
)

// TestReach_NamesTheStepThatFailed checks the step and the text of each error.
func TestReach_NamesTheStepThatFailed(t *testing.T) {
	secured := httptest.NewTLSServer(nil)
	t.Cleanup(secured.Close)
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	vacant, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, vacant.Close())
	roots := x509.NewCertPool()
	roots.AddCert(secured.Certificate())
	trusting := func(change func(*tls.Config)) *tls.Config {
		config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		change(config)
		return config
	}
	address := secured.Listener.Addr().String()
	for name, test := range map[string]struct {
		address string
		config  *tls.Config
		step    Step
		says    string
	}{
		"no such host":      {"nowhere.invalid:1", nil, Resolve, "nowhere.invalid"},
		"nobody listens":    {vacant.Addr().String(), nil, Connect, "connection refused"},
		"unknown authority": {address, &tls.Config{MinVersion: tls.VersionTLS12}, Untrusted, "unknown authority"},
		"expired":           {address, trusting(func(c *tls.Config) { c.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) } }), Expired, "has expired"},
		"another host's":    {address, trusting(func(c *tls.Config) { c.ServerName = "broker.internal" }), OtherHost, "not broker.internal"},
		"no TLS":            {plain.Listener.Addr().String(), trusting(func(*tls.Config) {}), Handshake, "TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Reach(t.Context(), test.address, test.config)
			var failed *ReachError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, test.step, failed.Step, err)
			assert.ErrorContains(t, err, test.says)
			require.Error(t, errors.Unwrap(err))
		})
	}
	reached, err := Reach(t.Context(), address, trusting(func(*tls.Config) {}))
	require.NoError(t, err)
	assert.Equal(t, "connected to "+address+", TLS 1.3, certificate valid until "+secured.Certificate().NotAfter.Format(time.DateOnly), reached)
	reached, err = Reach(t.Context(), plain.Listener.Addr().String(), nil)
	require.NoError(t, err)
	assert.Equal(t, "connected to "+plain.Listener.Addr().String(), reached)
}

// gRPC itself reports only that the server is unavailable.
func TestTemporalChecks_ReportACertificateThatIsNotTrusted(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	problems := &process.Problems{}
	options := process.ParseTemporal(process.Env{"TEMPORAL_ADDRESS": server.Listener.Addr().String(), "TEMPORAL_API_KEY": "hunter2"}, problems)
	require.NoError(t, problems.Err())
	temporal, err := NewTemporalChecks(options, nil)
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	ctx, cancel := context.WithTimeout(t.Context(), DefaultBound)
	defer cancel()
	results := Run(ctx, temporal.Checks(), func(Result) {})
	require.Len(t, results, 2)
	assert.Equal(t, Failed, results[0].Status)
	assert.Contains(t, results[0].Detail, "signed by unknown authority")
	assert.Contains(t, results[0].Cure, "TEMPORAL_TLS_SERVER_CA_CERT_PATH")
	assert.Equal(t, Skipped, results[1].Status)
	assert.NotContains(t, results[0].line(), "hunter2")
}

func TestFormatDays_UsesDaysIfTheyAreWhole(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "an unknown time", 24 * time.Hour: "1 day", 7 * 24 * time.Hour: "7 days", 36 * time.Hour: "36h0m0s",
	} {
		assert.Equal(t, want, FormatDays(d))
	}
}
