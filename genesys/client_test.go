package genesys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
	"genesys-fanout/genesys/genesystest"
)

// wire is a network without sockets, so that synctest can move the time.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func says(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// cloud is a scripted Genesys Cloud that counts what it is asked.
type cloud struct {
	tokens, details atomic.Int32
	token           func(n int32, r *http.Request) (*http.Response, error)
	detail          func(n int32, r *http.Request) (*http.Response, error)
}

func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/oauth/token" {
		n := c.tokens.Add(1)
		if c.token != nil {
			return c.token(n, r)
		}
		return says(200, genesystest.GrantedToken), nil
	}
	n := c.details.Add(1)
	if c.detail != nil {
		return c.detail(n, r)
	}
	return says(200, genesystest.GrantedDetails), nil
}

func client(t *testing.T, transport http.RoundTripper, change ...func(*genesys.Options)) *genesys.Client {
	t.Helper()
	o := genesys.Options{ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret, HTTPClient: &http.Client{Transport: transport}}
	for _, f := range change {
		f(&o)
	}
	c, err := genesys.New(o)
	require.NoError(t, err)
	return c
}

func TestTokenIsUsedUntilShortlyBeforeItsEnd(t *testing.T) {
	for _, tt := range []struct {
		expiresIn string
		used      time.Duration
	}{
		{`86400`, 24*time.Hour - 5*time.Minute},
		{`"86400"`, 24*time.Hour - 5*time.Minute},
		{`900`, 10 * time.Minute},
		{`600`, 5 * time.Minute},
		{`300`, 150 * time.Second},
		{`null`, 150 * time.Second},
	} {
		t.Run(tt.expiresIn, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				genesysCloud := &cloud{token: func(int32, *http.Request) (*http.Response, error) {
					return says(200, fmt.Sprintf(`{"access_token":"t","expires_in":%s}`, tt.expiresIn)), nil
				}}
				c := client(t, genesysCloud)
				ask := func(tokens int32) {
					_, err := c.ConnectionDetails(t.Context())
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

func TestOneRefreshForAllCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		genesysCloud := &cloud{token: func(_ int32, r *http.Request) (*http.Response, error) {
			select {
			case <-release:
				return says(200, genesystest.GrantedToken), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}}
		c := client(t, genesysCloud)

		first, giveUp := context.WithCancelCause(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, err := c.ConnectionDetails(first)
			gaveUp <- err
		}()
		synctest.Wait()
		results := make(chan error, 20)
		for range cap(results) {
			go func() {
				_, err := c.ConnectionDetails(t.Context())
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

func TestUnauthorizedWithACachedTokenGetsOneFreshToken(t *testing.T) {
	refuse := func() *http.Response { return says(401, `{"code":"bad.credentials"}`) }
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
				token: func(n int32, _ *http.Request) (*http.Response, error) {
					return says(200, fmt.Sprintf(`{"access_token":"token-%d","expires_in":3600}`, n)), nil
				},
				detail: func(n int32, r *http.Request) (*http.Response, error) {
					want := "Bearer token-1"
					if n > 2 {
						want = "Bearer token-2"
					}
					assert.Equal(t, want, r.Header.Get("Authorization"))
					if !tt.granted(n) {
						return refuse(), nil
					}
					return says(200, genesystest.GrantedDetails), nil
				},
			}
			c := client(t, genesysCloud)
			_, err := c.ConnectionDetails(t.Context())
			require.NoError(t, err)
			_, err = c.ConnectionDetails(t.Context())
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
		genesysCloud := &cloud{detail: func(int32, *http.Request) (*http.Response, error) { return refuse(), nil }}
		_, err := client(t, genesysCloud).ConnectionDetails(t.Context())
		require.ErrorAs(t, err, new(*genesys.Refusal))
		assert.EqualValues(t, 1, genesysCloud.tokens.Load())
		assert.EqualValues(t, 1, genesysCloud.details.Load())
	})
}

// A refusal that arrives late is one of the old token: the new one stays.
func TestALateRefusalDropsNoNewerToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		genesysCloud := &cloud{
			token: func(n int32, _ *http.Request) (*http.Response, error) {
				return says(200, fmt.Sprintf(`{"access_token":"token-%d","expires_in":3600}`, n)), nil
			},
			detail: func(n int32, r *http.Request) (*http.Response, error) {
				if n == 2 {
					<-release
				}
				if n == 1 || r.Header.Get("Authorization") != "Bearer token-1" {
					return says(200, genesystest.GrantedDetails), nil
				}
				return says(401, `{}`), nil
			},
		}
		c := client(t, genesysCloud)
		_, err := c.ConnectionDetails(t.Context())
		require.NoError(t, err)

		late := make(chan error, 1)
		go func() {
			_, err := c.ConnectionDetails(t.Context())
			late <- err
		}()
		synctest.Wait()
		_, err = c.ConnectionDetails(t.Context())
		require.NoError(t, err)
		close(release)
		require.NoError(t, <-late)
		assert.EqualValues(t, 2, genesysCloud.tokens.Load())
	})
}

func TestScopeIsSentOnlyWhenSet(t *testing.T) {
	for _, scope := range []string{"", "eventbridge:read"} {
		genesysCloud := &cloud{token: func(_ int32, r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			form, err := url.ParseQuery(string(body))
			require.NoError(t, err)
			want := url.Values{"grant_type": {"client_credentials"}}
			if scope != "" {
				want.Set("scope", scope)
			}
			assert.Equal(t, want, form)
			return says(200, genesystest.GrantedToken), nil
		}}
		_, err := client(t, genesysCloud, func(o *genesys.Options) { o.Scope = scope }).ConnectionDetails(t.Context())
		require.NoError(t, err)
	}
}

func TestTemporary(t *testing.T) {
	t.Run("Retry-After in both forms", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for value, want := range map[string]time.Duration{
				"7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "": 0,
				time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
				time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
				"99999999999999999": 30 * 24 * time.Hour,
			} {
				_, err := client(t, &cloud{detail: func(int32, *http.Request) (*http.Response, error) {
					return says(429, `{"code":"too.many","contextId":"ctx-1","message":"slow\ndown"}`, "Retry-After", value, "ININ-Correlation-Id", "corr-1"), nil
				}}).ConnectionDetails(t.Context())
				assert.Equal(t, &genesys.Temporary{
					Request: "GET /api/v2/eventbridge", Status: 429, Code: "too.many", ContextID: "ctx-1", CorrelationID: "corr-1",
					Message: "slow down", RetryAfter: want,
				}, err, value)
				assert.EqualError(t, err, "genesys: GET /api/v2/eventbridge: status 429, code too.many: slow down (contextId ctx-1) (correlation id corr-1)")
			}
		})
	})
	t.Run("ten seconds for a request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			_, err := client(t, wire(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})).ConnectionDetails(t.Context())
			require.ErrorAs(t, err, new(*genesys.Temporary))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 10*time.Second, time.Since(begin))
		})
	})
	t.Run("a body that breaks off", func(t *testing.T) {
		broken := errors.New("connection reset")
		_, err := client(t, &cloud{detail: func(int32, *http.Request) (*http.Response, error) {
			resp := says(200, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"conn`), readError{broken}))
			return resp, nil
		}}).ConnectionDetails(t.Context())
		require.ErrorAs(t, err, new(*genesys.Temporary))
		require.ErrorIs(t, err, broken)
	})
	t.Run("the end of the caller's context is none", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := client(t, &cloud{detail: func(_ int32, r *http.Request) (*http.Response, error) {
			cancel()
			return nil, r.Context().Err()
		}}).ConnectionDetails(ctx)
		require.ErrorIs(t, err, context.Canceled)
		assert.NotErrorAs(t, err, new(*genesys.Temporary))
	})
}

type readError struct{ err error }

func (r readError) Read([]byte) (int, error) { return 0, r.err }

func TestBodiesAreBounded(t *testing.T) {
	var read int
	endless := func() *http.Response {
		resp := says(200, "")
		resp.Body = io.NopCloser(spaces{&read})
		return resp
	}
	for name, genesysCloud := range map[string]*cloud{
		"POST /oauth/token":       {token: func(int32, *http.Request) (*http.Response, error) { return endless(), nil }},
		"GET /api/v2/eventbridge": {detail: func(int32, *http.Request) (*http.Response, error) { return endless(), nil }},
	} {
		_, err := client(t, genesysCloud).ConnectionDetails(t.Context())
		var refusal *genesys.Refusal
		require.ErrorAs(t, err, &refusal)
		assert.Equal(t, name, refusal.Request)
		assert.Contains(t, refusal.Message, "1 MiB")
		assert.LessOrEqual(t, read, 1<<20+1)
		read = 0
	}
}

// spaces never end; read counts them.
type spaces struct{ read *int }

func (s spaces) Read(p []byte) (int, error) {
	n := copy(p, bytes.Repeat([]byte(" "), len(p)))
	*s.read += n
	return n, nil
}

// A connection error can quote what the server wrote, so its cause is shown
// only after cleaning, and so is everything that wraps it.
func TestNoSecretInAConnectionError(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = fmt.Fprintf(conn, "oops-%s-again\r\n\r\n", genesystest.ClientSecret)
			_ = conn.Close()
		}
	}()
	c, err := genesys.New(genesys.Options{APIURL: "http://" + listener.Addr().String(), ClientID: genesystest.ClientID, ClientSecret: genesystest.ClientSecret})
	require.NoError(t, err)
	_, err = c.ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.Temporary))
	require.Contains(t, err.Error(), "malformed HTTP")
	for ; err != nil; err = errors.Unwrap(err) {
		genesystest.NoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
}

// A later refusal may quote the token and the password of an earlier answer.
func TestNoSecretOfAnEarlierAnswer(t *testing.T) {
	echo := `{"message":"` + genesystest.AccessToken + ` ` + genesystest.SASLPassword + `"}`
	synctest.Test(t, func(t *testing.T) {
		genesysCloud := &cloud{}
		c := client(t, genesysCloud)
		_, err := c.ConnectionDetails(t.Context())
		require.NoError(t, err)
		genesysCloud.detail = func(int32, *http.Request) (*http.Response, error) { return says(403, echo), nil }
		_, err = c.ConnectionDetails(t.Context())
		require.ErrorContains(t, err, "403")
		genesystest.NoSecret(t, err.Error())

		<-time.After(48 * time.Hour)
		genesysCloud.token = func(int32, *http.Request) (*http.Response, error) { return says(400, echo), nil }
		_, err = c.ConnectionDetails(t.Context())
		require.ErrorContains(t, err, "400")
		genesystest.NoSecret(t, err.Error())
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

// A secret of one letter is cleaned once, not again out of what stands for it.
func TestAShortSecretIsCleanedOnce(t *testing.T) {
	refuse := &cloud{token: func(int32, *http.Request) (*http.Response, error) {
		return says(401, `{"error":"x","error_description":"bend"}`), nil
	}}
	_, err := client(t, refuse, func(o *genesys.Options) { o.ClientSecret = "e" }).ConnectionDetails(t.Context())
	var refusal *genesys.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "b[redacted]nd", refusal.Message)
}
