package genesystest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// testConnectionErrors checks that the error names the cause and the cure if a request
// gets no answer.
func testConnectionErrors(t *testing.T, newSource NewSource) {
	t.Run("TLS failures name the cure", func(t *testing.T) { testTLSFailures(t, newSource) })
	t.Run("connection failures name the cure", func(t *testing.T) { testConnectionFailures(t, newSource) })
}

// transientError makes a Source with the options and returns its *TransientError.
func transientError(t *testing.T, newSource NewSource, o genesys.Options) *genesys.TransientError {
	t.Helper()
	o.ClientID, o.ClientSecret = ClientID, ClientSecret
	_, err := newSource(t, o).ConnectionDetails(t.Context())
	var got *genesys.TransientError
	require.ErrorAs(t, err, &got)
	assert.True(t, strings.HasSuffix(got.Error(), got.Cure))
	assert.NotContains(t, got.Error(), "\n")
	AssertNoSecret(t, got.Error())
	return got
}

func testTLSFailures(t *testing.T, newSource NewSource) {
	quiet := log.New(io.Discard, "", 0)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)

	t.Run("an unknown authority", func(t *testing.T) {
		got := transientError(t, newSource, genesys.Options{APIURL: secure.URL, HTTPClient: &http.Client{Transport: &http.Transport{}}})
		require.ErrorAs(t, got, new(x509.UnknownAuthorityError))
		assert.Contains(t, got.Cure, "SSL_CERT_FILE")
		assert.Contains(t, got.Cure, "GENESYS_API_URL")
	})
	t.Run("the certificate of another host", func(t *testing.T) {
		url := strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)
		got := transientError(t, newSource, genesys.Options{APIURL: url, HTTPClient: secure.Client()})
		require.ErrorAs(t, got, new(x509.HostnameError))
		assert.Contains(t, got.Cure, "belongs to another host: check the host in GENESYS_API_URL")
	})
	t.Run("a server without TLS", func(t *testing.T) {
		url := strings.Replace(plain.URL, "http:", "https:", 1)
		got := transientError(t, newSource, genesys.Options{APIURL: url, HTTPClient: &http.Client{Transport: &http.Transport{}}})
		assert.Contains(t, got.Cure, "check scheme, host and port in GENESYS_API_URL")
	})
}

func testConnectionFailures(t *testing.T, newSource NewSource) {
	noHost := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "login.example.invalid", IsNotFound: true}}
	for _, tt := range []struct {
		name     string
		err      error
		tokenURL string
		cure     []string
	}{
		{"an unknown host", noHost, "", []string{"check the host in GENESYS_API_URL", "region"}},
		{"an unknown host in the token URL", noHost, "https://login.example.invalid/oauth/token", []string{"check the host in GENESYS_TOKEN_URL"}},
		{"the proxy", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: noHost}, "", []string{"HTTPS_PROXY"}},
		{"an expired certificate", &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}, "", []string{"clock"}},
		{"no root certificates", x509.SystemRootsError{Err: errors.New("none")}, "", []string{"SSL_CERT_FILE"}},
		{"no TLS version in common", &net.OpError{Op: "remote error", Err: tls.AlertError(70)}, "", []string{"GENESYS_API_URL", "proxy"}},
		{"an unknown host, in an error that quotes the secret", errors.Join(noHost, errors.New(ClientSecret)), "", []string{"check the host"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, tt.err })
			got := transientError(t, newSource, genesys.Options{TokenURL: tt.tokenURL, HTTPClient: &http.Client{Transport: broken}})
			for _, text := range tt.cure {
				assert.Contains(t, got.Cure, text)
			}
		})
	}
	t.Run("a broken connection has no cure", func(t *testing.T) {
		broken := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		assert.Empty(t, transientError(t, newSource, genesys.Options{HTTPClient: &http.Client{Transport: broken}}).Cure)
	})
	t.Run("a failure of the connection details names the setting of the API host", func(t *testing.T) {
		details := &fakeCloud{onDetails: func(int32, *http.Request) (*http.Response, error) { return nil, noHost }}
		got := transientError(t, newSource, genesys.Options{TokenURL: "https://sso.example.com/oauth/token", HTTPClient: &http.Client{Transport: details}})
		assert.Contains(t, got.Cure, "check the host in GENESYS_API_URL")
	})
}
