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

// expires_in is a number (RFC 6749, 5.1). golang.org/x/oauth2 takes a text too,
// the Genesys SDK does not.
func TestALifetimeMayBeAText(t *testing.T) {
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

func TestPrintedValuesHoldNoSecret(t *testing.T) {
	o := genesys.Options{ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret, APIURL: "https://api.example.com"}
	c, err := genesys.New(o)
	require.NoError(t, err)
	details := genesys.ConnectionDetails{BootstrapServers: "h:1", SASLPassword: genesystest.SASLPassword}
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	for _, value := range []any{o, &o, c, details, &details} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			genesystest.NoSecret(t, fmt.Sprintf(verb, value))
		}
	}
	log.Info("", "options", o, "details", details)
	genesystest.NoSecret(t, logged.String())
	assert.Contains(t, logged.String(), "h:1")
	assert.Contains(t, logged.String(), "api.example.com")
}

// bypass is a Caller that does not use the client it is given.
type bypass struct{}

func (bypass) Token(context.Context, *http.Client, string) (*oauth2.Token, error) { return nil, nil }

func (bypass) Get(context.Context, *http.Client, string, *oauth2.Token) error { return nil }

func TestNothingIsBelievedThatTheClientDidNotSee(t *testing.T) {
	c, err := genesys.NewWith(genesys.Options{ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret}, bypass{})
	require.NoError(t, err)
	_, err = c.ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.Temporary))
	require.ErrorContains(t, err, "no request through the client")
}
