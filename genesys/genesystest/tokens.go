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

// numbered grants token-1, token-2, …
func numbered(n int32, _ *http.Request) (*http.Response, error) {
	return says(http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","expires_in":3600}`, n)), nil
}

// tokens checks when a token is asked for, and how.
func tokens(t *testing.T, newSource NewSource) {
	t.Run("a token is used until shortly before its end", func(t *testing.T) { lifetimes(t, newSource) })
	t.Run("one refresh for all callers", func(t *testing.T) { oneRefresh(t, newSource) })
	t.Run("a 401 to a cached token gets one fresh token", func(t *testing.T) { unauthorized(t, newSource) })
	t.Run("a late refusal drops no newer token", func(t *testing.T) { lateRefusal(t, newSource) })
	t.Run("the scope is sent only when set", func(t *testing.T) { scopes(t, newSource) })
	t.Run("what is asked, and where", func(t *testing.T) { addresses(t, newSource) })
}

func lifetimes(t *testing.T, newSource NewSource) {
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
				genesysCloud := &cloud{token: always(http.StatusOK, fmt.Sprintf(`{"access_token":"t","expires_in":%s}`, tt.expiresIn))}
				src := newSource.over(t, genesysCloud)
				ask := func(tokens int32) {
					_, err := src.ConnectionDetails(t.Context())
					require.NoError(t, err)
					require.Equal(t, tokens, genesysCloud.tokens.Load())
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

func oneRefresh(t *testing.T, newSource NewSource) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		genesysCloud := &cloud{token: func(_ int32, r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return says(http.StatusOK, GrantedToken), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}}
		src := newSource.over(t, genesysCloud)

		first, giveUp := context.WithCancelCause(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, err := src.ConnectionDetails(first)
			gaveUp <- err
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

		// The caller who began the refresh leaves at once, the others still get the token.
		reason := errors.New("shutting down")
		giveUp(reason)
		synctest.Wait()
		require.ErrorIs(t, <-gaveUp, reason)
		close(release)
		for range cap(results) {
			require.NoError(t, <-results)
		}
		assert.EqualValues(t, 1, genesysCloud.tokens.Load())
		assert.EqualValues(t, 20, genesysCloud.details.Load())
	})
}

func unauthorized(t *testing.T, newSource NewSource) {
	for _, tt := range []struct {
		name            string
		granted         func(n int32) bool
		refused         bool
		tokens, details int32
	}{
		{"revoked in between", func(n int32) bool { return n != 2 }, false, 2, 3},
		{"refused for good", func(n int32) bool { return n == 1 }, true, 2, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			genesysCloud := &cloud{
				token: numbered,
				detail: func(n int32, r *http.Request) (*http.Response, error) {
					want := "Bearer token-1"
					if n > 2 {
						want = "Bearer token-2"
					}
					assert.Equal(t, want, r.Header.Get("Authorization"))
					if !tt.granted(n) {
						return says(http.StatusUnauthorized, `{"code":"bad.credentials"}`), nil
					}
					return says(http.StatusOK, GrantedDetails), nil
				},
			}
			src := newSource.over(t, genesysCloud)
			_, err := src.ConnectionDetails(t.Context())
			require.NoError(t, err)
			_, err = src.ConnectionDetails(t.Context())
			if tt.refused {
				var refusal *genesys.Refusal
				require.ErrorAs(t, err, &refusal)
				assert.Equal(t, 401, refusal.Status)
				assert.Equal(t, "bad.credentials", refusal.Code)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, tt.tokens, genesysCloud.tokens.Load())
			assert.Equal(t, tt.details, genesysCloud.details.Load())
		})
	}
	t.Run("a token just issued is not replaced", func(t *testing.T) {
		genesysCloud := &cloud{detail: always(http.StatusUnauthorized, `{"code":"bad.credentials"}`)}
		_, err := newSource.over(t, genesysCloud).ConnectionDetails(t.Context())
		require.ErrorAs(t, err, new(*genesys.Refusal))
		assert.EqualValues(t, 1, genesysCloud.tokens.Load())
		assert.EqualValues(t, 1, genesysCloud.details.Load())
	})
}

// lateRefusal: a refusal that arrives late is one of the old token, the new one
// stays.
func lateRefusal(t *testing.T, newSource NewSource) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		genesysCloud := &cloud{
			token: numbered,
			detail: func(n int32, r *http.Request) (*http.Response, error) {
				if n == 2 {
					<-release
				}
				if n == 1 || r.Header.Get("Authorization") != "Bearer token-1" {
					return says(http.StatusOK, GrantedDetails), nil
				}
				return says(http.StatusUnauthorized, `{}`), nil
			},
		}
		src := newSource.over(t, genesysCloud)
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
		assert.EqualValues(t, 2, genesysCloud.tokens.Load())
	})
}

func scopes(t *testing.T, newSource NewSource) {
	for scope, want := range map[string]url.Values{
		"":                 {"grant_type": {"client_credentials"}},
		"eventbridge:read": {"grant_type": {"client_credentials"}, "scope": {"eventbridge:read"}},
		"a   b":            {"grant_type": {"client_credentials"}, "scope": {"a b"}},
	} {
		genesysCloud := &cloud{token: func(_ int32, r *http.Request) (*http.Response, error) {
			assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			form, err := url.ParseQuery(string(body))
			require.NoError(t, err)
			assert.Equal(t, want, form)
			return says(http.StatusOK, GrantedToken), nil
		}}
		_, err := newSource.over(t, genesysCloud, func(o *genesys.Options) { o.Scope = scope }).ConnectionDetails(t.Context())
		require.NoError(t, err)
	}
}

func addresses(t *testing.T, newSource NewSource) {
	for _, tt := range []struct {
		name           string
		api, tok, path string
		token, details string
	}{
		{"defaults", "", "", "", "https://login.mypurecloud.com/oauth/token", "https://api.mypurecloud.com/api/v2/eventbridge"},
		{"region", "https://api.usw2.pure.cloud/", "", "", "https://login.usw2.pure.cloud/oauth/token", "https://api.usw2.pure.cloud/api/v2/eventbridge"},
		{"port", "https://api.example.com:8443", "", "", "https://login.example.com:8443/oauth/token", "https://api.example.com:8443/api/v2/eventbridge"},
		{"another host", "https://genesys.example.com", "", "", "https://genesys.example.com/oauth/token", "https://genesys.example.com/api/v2/eventbridge"},
		{"api elsewhere in the name", "https://my.api.example.com", "", "", "https://my.api.example.com/oauth/token", "https://my.api.example.com/api/v2/eventbridge"},
		{"behind a prefix", "https://proxy.example.com/genesys", "", "", "https://proxy.example.com/oauth/token", "https://proxy.example.com/genesys/api/v2/eventbridge"},
		{"token URL", "", "https://sso.example.com/t/oauth/token", "", "https://sso.example.com/t/oauth/token", "https://api.mypurecloud.com/api/v2/eventbridge"},
		{"token URL on a host of the API", "", "https://api.example.com/oauth/token", "", "https://api.example.com/oauth/token", "https://api.mypurecloud.com/api/v2/eventbridge"},
		{"path with a query", "", "", "/x%20y/z?a=b", "https://login.mypurecloud.com/oauth/token", "https://api.mypurecloud.com/x%20y/z?a=b"},
		{"http on loopback", "http://127.0.0.1:81", "", "", "http://127.0.0.1:81/oauth/token", "http://127.0.0.1:81/api/v2/eventbridge"},
		{"http on localhost", "http://localhost", "", "", "http://localhost/oauth/token", "http://localhost/api/v2/eventbridge"},
		{"http on ::1", "http://[::1]", "", "", "http://[::1]/oauth/token", "http://[::1]/api/v2/eventbridge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			src := newSource.over(t, wire(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.Method+" "+r.URL.String())
				return (&cloud{}).RoundTrip(r)
			}), func(o *genesys.Options) { o.APIURL, o.TokenURL, o.EventBridgePath = tt.api, tt.tok, tt.path })
			_, err := src.ConnectionDetails(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []string{"POST " + tt.token, "GET " + tt.details}, asked)
		})
	}
	t.Run("a token URL with another path", func(t *testing.T) {
		var asked []string
		src := newSource.over(t, wire(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			if r.Method == http.MethodPost {
				return says(http.StatusOK, GrantedToken), nil
			}
			return says(http.StatusOK, GrantedDetails), nil
		}), func(o *genesys.Options) { o.TokenURL = "https://sso.example.com/token" })
		_, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"https://sso.example.com/token", "https://api.mypurecloud.com/api/v2/eventbridge"}, asked)
	})
}
