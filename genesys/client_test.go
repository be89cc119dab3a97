package genesys_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"genesys-fanout/genesys"
	"genesys-fanout/genesys/genesystest"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// RFC 6749, 5.1, makes expires_in a number. golang.org/x/oauth2 accepts a string too,
// but the Genesys SDK does not, so this test is not in genesystest.
func TestClient_AcceptsExpiresInAsAString(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := 0
		cloud := roundTrip(func(r *http.Request) (*http.Response, error) {
			body := genesystest.GrantedDetails
			if r.Method == http.MethodPost {
				tokens++
				body = `{"access_token":"t","expires_in":"86400"}`
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		c, err := genesys.New(genesys.Options{
			ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret, HTTPClient: &http.Client{Transport: cloud},
		})
		require.NoError(t, err)
		for _, want := range []int{1, 1, 2} { // at once, after 12 h, after 24 h
			_, err = c.ConnectionDetails(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, tokens)
			<-time.After(12 * time.Hour)
		}
	})
}

func TestPrintedValues_ShowNoSecret(t *testing.T) {
	o := genesys.Options{ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret, APIURL: "https://api.example.com"}
	c, err := genesys.New(o)
	require.NoError(t, err)
	details := genesys.ConnectionDetails{BootstrapServers: "h:1", SASLPassword: genesystest.SASLPassword}
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	for _, value := range []any{o, &o, c, details, &details} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			genesystest.AssertNoSecret(t, fmt.Sprintf(verb, value))
		}
	}
	log.Info("", "options", o, "details", details)
	genesystest.AssertNoSecret(t, logged.String())
	assert.Contains(t, logged.String(), "h:1")
	assert.Contains(t, logged.String(), "api.example.com")
}

// silentRequester is a Requester that reports success without a request.
type silentRequester struct{}

func (silentRequester) Token(context.Context, *http.Client, string) (*oauth2.Token, error) {
	return nil, nil
}

func (silentRequester) Get(context.Context, *http.Client, string, *oauth2.Token) error { return nil }

func TestClient_FailsIfTheRequesterSendsNoRequest(t *testing.T) {
	c, err := genesys.NewWithRequester(genesys.Options{ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret}, silentRequester{})
	require.NoError(t, err)
	_, err = c.ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.TransientError))
	require.ErrorContains(t, err, "sent nothing through the HTTP client")
}
