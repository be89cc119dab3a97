package genesystest

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"genesys-fanout/genesys"
)

// wire is a network without sockets, so that synctest can move the time.
type wire func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func says(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// play answers the nth request of its kind.
type play func(n int32, r *http.Request) (*http.Response, error)

// always plays the same answer.
func always(status int, body string, header ...string) play {
	return func(int32, *http.Request) (*http.Response, error) { return says(status, body, header...), nil }
}

// cloud is a scripted Genesys Cloud on a wire that counts what it is asked. It
// grants what has no play.
type cloud struct {
	tokens, details atomic.Int32
	token, detail   play
}

// RoundTrip implements http.RoundTripper.
func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	count, answer, granted := &c.details, c.detail, GrantedDetails
	if strings.HasSuffix(r.URL.Path, "/oauth/token") {
		count, answer, granted = &c.tokens, c.token, GrantedToken
	}
	if answer == nil {
		answer = always(http.StatusOK, granted)
	}
	return answer(count.Add(1), r)
}

// NewSource makes the Source under test. It must use the options as they stand,
// HTTPClient and Logger too.
type NewSource func(*testing.T, genesys.Options) genesys.Source

// over makes a Source on a wire.
func (n NewSource) over(t *testing.T, transport http.RoundTripper, change ...func(*genesys.Options)) genesys.Source {
	t.Helper()
	o := genesys.Options{ClientID: ClientID, ClientSecret: ClientSecret, HTTPClient: &http.Client{Transport: transport}}
	for _, f := range change {
		f(&o)
	}
	return n(t, o)
}
