package genesystest

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"genesys-fanout/genesys"
)

// roundTripFunc is a network without sockets, so that synctest can advance the time.
type roundTripFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// script answers the nth request of its kind, counted from 1.
type script func(n int32, r *http.Request) (*http.Response, error)

// respondAlways answers every request alike.
func respondAlways(status int, body string, header ...string) script {
	return func(int32, *http.Request) (*http.Response, error) { return respond(status, body, header...), nil }
}

// fakeCloud is a Genesys Cloud without sockets that counts its requests. It grants
// every request that has no script.
type fakeCloud struct {
	tokenRequests, detailsRequests atomic.Int32
	onToken, onDetails             script
}

// RoundTrip implements http.RoundTripper.
func (c *fakeCloud) RoundTrip(r *http.Request) (*http.Response, error) {
	count, answer, granted := &c.detailsRequests, c.onDetails, GrantedDetails
	if strings.HasSuffix(r.URL.Path, "/oauth/token") {
		count, answer, granted = &c.tokenRequests, c.onToken, GrantedToken
	}
	if answer == nil {
		answer = respondAlways(http.StatusOK, granted)
	}
	return answer(count.Add(1), r)
}

// NewSource makes the Source under test. It must use every option unchanged,
// HTTPClient and Logger included.
type NewSource func(*testing.T, genesys.Options) genesys.Source

// withTransport makes a Source that sends its requests through the transport.
func (n NewSource) withTransport(t *testing.T, transport http.RoundTripper, change ...func(*genesys.Options)) genesys.Source {
	t.Helper()
	o := genesys.Options{ClientID: ClientID, ClientSecret: ClientSecret, HTTPClient: &http.Client{Transport: transport}}
	for _, f := range change {
		f(&o)
	}
	return n(t, o)
}
