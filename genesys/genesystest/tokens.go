package genesystest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// numberedTokens grants token-1, then token-2, and so on.
func numberedTokens(n int32, _ *http.Request) (*http.Response, error) {
	return respond(http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","expires_in":3600}`, n)), nil
}

// testTokens checks when a token is requested, and how.
func testTokens(t *testing.T, newSource NewSource) {
	t.Run("a token is replaced shortly before it expires", func(t *testing.T) { testTokenLifetime(t, newSource) })
	t.Run("concurrent callers share one token request", func(t *testing.T) { testSharedTokenRequest(t, newSource) })
	t.Run("a 401 to a cached token is tried again with a new token", func(t *testing.T) { testUnauthorized(t, newSource) })
	t.Run("a late 401 does not drop a newer token", func(t *testing.T) { testLateUnauthorized(t, newSource) })
	t.Run("the scope is sent only if it is set", func(t *testing.T) { testScope(t, newSource) })
	t.Run("the addresses of the requests", func(t *testing.T) { testAddresses(t, newSource) })
}

func testTokenLifetime(t *testing.T, newSource NewSource) {
	for _, tt := range []struct {
		expiresIn string
		used      time.Duration
	}{
		{`9999999999999`, math.MaxInt32*time.Second - 5*time.Minute},
		{`86400`, 24*time.Hour - 5*time.Minute},
		{`900`, 10 * time.Minute},
		{`600`, 5 * time.Minute},
		{`300`, 150 * time.Second},
		{`null`, 150 * time.Second},
	} {
		t.Run(tt.expiresIn, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				genesysCloud := &fakeCloud{onToken: respondAlways(http.StatusOK, fmt.Sprintf(`{"access_token":"t","expires_in":%s}`, tt.expiresIn))}
				src := newSource.withTransport(t, genesysCloud)
				ask := func(tokens int32) {
					_, err := src.ConnectionDetails(t.Context())
					require.NoError(t, err)
					require.Equal(t, tokens, genesysCloud.tokenRequests.Load())
				}
				ask(1)
				<-time.After(tt.used - time.Second)
				ask(1)
				<-time.After(time.Second)
				ask(2)
			})
		})
	}
}

func testSharedTokenRequest(t *testing.T, newSource NewSource) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		genesysCloud := &fakeCloud{onToken: func(_ int32, r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return respond(http.StatusOK, GrantedToken), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}}
		src := newSource.withTransport(t, genesysCloud)

		first, cancelFirst := context.WithCancelCause(t.Context())
		firstResult := make(chan error, 1)
		go func() {
			_, err := src.ConnectionDetails(first)
			firstResult <- err
		}()
		synctest.Wait()
		results := make(chan error, 20)
		for range cap(results) {
			go func() {
				_, err := src.ConnectionDetails(t.Context())
				results <- err
			}()
		}
		synctest.Wait()

		// The caller who began the request returns at once, and the others still get
		// the token.
		reason := errors.New("shutting down")
		cancelFirst(reason)
		synctest.Wait()
		require.ErrorIs(t, <-firstResult, reason)
		close(release)
		for range cap(results) {
			require.NoError(t, <-results)
		}
		assert.EqualValues(t, 1, genesysCloud.tokenRequests.Load())
		assert.EqualValues(t, 20, genesysCloud.detailsRequests.Load())
	})
}

func testUnauthorized(t *testing.T, newSource NewSource) {
	for _, tt := range []struct {
		name            string
		granted         func(n int32) bool
		rejected        bool
		tokens, details int32
	}{
		{"the token was revoked", func(n int32) bool { return n != 2 }, false, 2, 3},
		{"the new token is rejected too", func(n int32) bool { return n == 1 }, true, 2, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			genesysCloud := &fakeCloud{
				onToken: numberedTokens,
				onDetails: func(n int32, r *http.Request) (*http.Response, error) {
					want := "Bearer token-1"
					if n > 2 {
						want = "Bearer token-2"
					}
					assert.Equal(t, want, r.Header.Get("Authorization"))
					if !tt.granted(n) {
						return respond(http.StatusUnauthorized, `{"code":"bad.credentials"}`), nil
					}
					return respond(http.StatusOK, GrantedDetails), nil
				},
			}
			src := newSource.withTransport(t, genesysCloud)
			_, err := src.ConnectionDetails(t.Context())
			require.NoError(t, err)
			_, err = src.ConnectionDetails(t.Context())
			if tt.rejected {
				var rejected *genesys.RejectedError
				require.ErrorAs(t, err, &rejected)
				assert.Equal(t, 401, rejected.Status)
				assert.Equal(t, "bad.credentials", rejected.Code)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, tt.tokens, genesysCloud.tokenRequests.Load())
			assert.Equal(t, tt.details, genesysCloud.detailsRequests.Load())
		})
	}
	t.Run("a 401 to a new token is final", func(t *testing.T) {
		genesysCloud := &fakeCloud{onDetails: respondAlways(http.StatusUnauthorized, `{"code":"bad.credentials"}`)}
		_, err := newSource.withTransport(t, genesysCloud).ConnectionDetails(t.Context())
		require.ErrorAs(t, err, new(*genesys.RejectedError))
		assert.EqualValues(t, 1, genesysCloud.tokenRequests.Load())
		assert.EqualValues(t, 1, genesysCloud.detailsRequests.Load())
	})
}

// testLateUnauthorized checks a 401 to an old token that arrives when a newer token
// is cached already: the newer one must stay.
func testLateUnauthorized(t *testing.T, newSource NewSource) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		genesysCloud := &fakeCloud{
			onToken: numberedTokens,
			onDetails: func(n int32, r *http.Request) (*http.Response, error) {
				if n == 2 {
					<-release
				}
				if n == 1 || r.Header.Get("Authorization") != "Bearer token-1" {
					return respond(http.StatusOK, GrantedDetails), nil
				}
				return respond(http.StatusUnauthorized, `{}`), nil
			},
		}
		src := newSource.withTransport(t, genesysCloud)
		_, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)

		late := make(chan error, 1)
		go func() {
			_, err := src.ConnectionDetails(t.Context())
			late <- err
		}()
		synctest.Wait()
		_, err = src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		close(release)
		require.NoError(t, <-late)
		assert.EqualValues(t, 2, genesysCloud.tokenRequests.Load())
	})
}

func testScope(t *testing.T, newSource NewSource) {
	for scope, want := range map[string]url.Values{
		"":                 {"grant_type": {"client_credentials"}},
		"eventbridge:read": {"grant_type": {"client_credentials"}, "scope": {"eventbridge:read"}},
		"a   b":            {"grant_type": {"client_credentials"}, "scope": {"a b"}},
	} {
		genesysCloud := &fakeCloud{onToken: func(_ int32, r *http.Request) (*http.Response, error) {
			assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			form, err := url.ParseQuery(string(body))
			require.NoError(t, err)
			assert.Equal(t, want, form)
			return respond(http.StatusOK, GrantedToken), nil
		}}
		_, err := newSource.withTransport(t, genesysCloud, func(o *genesys.Options) { o.Scope = scope }).ConnectionDetails(t.Context())
		require.NoError(t, err)
	}
}

func testAddresses(t *testing.T, newSource NewSource) {
	for _, tt := range []struct {
		name           string
		api, tok, path string
		token, details string
	}{
		{"defaults", "", "", "", "https://login.mypurecloud.com/oauth/token", "https://api.mypurecloud.com/api/v2/eventbridge"},
		{"region", "https://api.usw2.pure.cloud/", "", "", "https://login.usw2.pure.cloud/oauth/token", "https://api.usw2.pure.cloud/api/v2/eventbridge"},
		{"port", "https://api.example.com:8443", "", "", "https://login.example.com:8443/oauth/token", "https://api.example.com:8443/api/v2/eventbridge"},
		{"another host", "https://genesys.example.com", "", "", "https://genesys.example.com/oauth/token", "https://genesys.example.com/api/v2/eventbridge"},
		{"api. inside the name", "https://my.api.example.com", "", "", "https://my.api.example.com/oauth/token", "https://my.api.example.com/api/v2/eventbridge"},
		{"behind a prefix", "https://proxy.example.com/genesys", "", "", "https://proxy.example.com/oauth/token", "https://proxy.example.com/genesys/api/v2/eventbridge"},
		{"token URL", "", "https://sso.example.com/t/oauth/token", "", "https://sso.example.com/t/oauth/token", "https://api.mypurecloud.com/api/v2/eventbridge"},
		{"token URL on an API host", "", "https://api.example.com/oauth/token", "", "https://api.example.com/oauth/token", "https://api.mypurecloud.com/api/v2/eventbridge"},
		{"path with a query", "", "", "/x%20y/z?a=b", "https://login.mypurecloud.com/oauth/token", "https://api.mypurecloud.com/x%20y/z?a=b"},
		{"http on loopback", "http://127.0.0.1:81", "", "", "http://127.0.0.1:81/oauth/token", "http://127.0.0.1:81/api/v2/eventbridge"},
		{"http on localhost", "http://localhost", "", "", "http://localhost/oauth/token", "http://localhost/api/v2/eventbridge"},
		{"http on ::1", "http://[::1]", "", "", "http://[::1]/oauth/token", "http://[::1]/api/v2/eventbridge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			src := newSource.withTransport(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.Method+" "+r.URL.String())
				return (&fakeCloud{}).RoundTrip(r)
			}), func(o *genesys.Options) { o.APIURL, o.TokenURL, o.EventBridgePath = tt.api, tt.tok, tt.path })
			_, err := src.ConnectionDetails(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []string{"POST " + tt.token, "GET " + tt.details}, asked)
		})
	}
	t.Run("a token URL with another path", func(t *testing.T) {
		var asked []string
		src := newSource.withTransport(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			if r.Method == http.MethodPost {
				return respond(http.StatusOK, GrantedToken), nil
			}
			return respond(http.StatusOK, GrantedDetails), nil
		}), func(o *genesys.Options) { o.TokenURL = "https://sso.example.com/token" })
		_, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"https://sso.example.com/token", "https://api.mypurecloud.com/api/v2/eventbridge"}, asked)
	})
}
