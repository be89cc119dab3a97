package genesystest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// failures checks what is told of a failure, and how soon.
func failures(t *testing.T, newSource NewSource) {
	t.Run("Retry-After in both forms", func(t *testing.T) { retryAfter(t, newSource) })
	t.Run("ten seconds for a request", func(t *testing.T) { tenSeconds(t, newSource) })
	t.Run("a body that breaks off", func(t *testing.T) { brokenBody(t, newSource) })
	t.Run("bodies are bounded", func(t *testing.T) { boundedBodies(t, newSource) })
	t.Run("the end of the caller's context", func(t *testing.T) { canceled(t, newSource) })
	t.Run("many callers", func(t *testing.T) { manyCallers(t, newSource) })
	t.Run("no secret in a connection error", func(t *testing.T) { connectionError(t, newSource) })
	t.Run("no secret of an earlier answer", func(t *testing.T) { earlierAnswer(t, newSource) })
	t.Run("a short secret is cleaned once", func(t *testing.T) { shortSecret(t, newSource) })
}

func retryAfter(t *testing.T, newSource NewSource) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, "7, 7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "": 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
			"99999999999999999": 30 * 24 * time.Hour,
		} {
			for _, status := range []int{429, 503} {
				busy := always(status, `{"code":"too.many","contextId":"ctx-1","message":"slow\ndown"}`, "Retry-After", value, "ININ-Correlation-Id", "corr-1")
				for request, genesysCloud := range map[string]*cloud{askToken: {token: busy}, askDetails: {detail: busy}} {
					_, err := newSource.over(t, genesysCloud).ConnectionDetails(t.Context())
					assert.Equal(t, &genesys.Temporary{
						Request: request, Status: status, Code: "too.many", ContextID: "ctx-1", CorrelationID: "corr-1",
						Message: "slow down", RetryAfter: want,
					}, err, value)
					assert.EqualError(t, err, fmt.Sprintf("genesys: %s: status %d, code too.many: slow down (contextId ctx-1) (correlation id corr-1)", request, status))
					assert.LessOrEqual(t, genesysCloud.tokens.Load(), int32(1), "asked again at once")
					assert.LessOrEqual(t, genesysCloud.details.Load(), int32(1), "asked again at once")
				}
			}
		}
	})
}

func tenSeconds(t *testing.T, newSource NewSource) {
	hang := func(_ int32, r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for request, genesysCloud := range map[string]*cloud{askToken: {token: hang}, askDetails: {detail: hang}} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			_, err := newSource.over(t, genesysCloud).ConnectionDetails(t.Context())
			var temporary *genesys.Temporary
			require.ErrorAs(t, err, &temporary)
			assert.Equal(t, request, temporary.Request)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 10*time.Second, time.Since(begin))
		})
	}
}

func brokenBody(t *testing.T, newSource NewSource) {
	broken := errors.New("connection reset")
	_, err := newSource.over(t, &cloud{detail: func(int32, *http.Request) (*http.Response, error) {
		resp := says(http.StatusOK, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"conn`), readError{broken}))
		return resp, nil
	}}).ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.Temporary))
	require.ErrorIs(t, err, broken)
}

type readError struct{ err error }

func (r readError) Read([]byte) (int, error) { return 0, r.err }

func boundedBodies(t *testing.T, newSource NewSource) {
	var read int
	endless := func(int32, *http.Request) (*http.Response, error) {
		resp := says(http.StatusOK, "")
		resp.Body = io.NopCloser(spaces{&read})
		return resp, nil
	}
	for request, genesysCloud := range map[string]*cloud{askToken: {token: endless}, askDetails: {detail: endless}} {
		_, err := newSource.over(t, genesysCloud).ConnectionDetails(t.Context())
		var refusal *genesys.Refusal
		require.ErrorAs(t, err, &refusal)
		assert.Equal(t, request, refusal.Request)
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

// canceled: the caller leaves at once, and its request ends with it.
func canceled(t *testing.T, newSource NewSource) {
	asked, ended := make(chan struct{}), make(chan struct{})
	granted := Server(t, Answer{}, Answer{}).Config.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			granted.ServeHTTP(w, r)
			return
		}
		close(asked)
		<-r.Context().Done()
		close(ended)
	}))
	t.Cleanup(server.Close)
	src, _ := source(t, server.URL, newSource)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := src.ConnectionDetails(ctx)
		left <- err
	}()
	<-asked
	reason := errors.New("shutting down")
	cancel(reason)
	err := <-left
	require.ErrorIs(t, err, reason)
	assert.NotErrorAs(t, err, new(*genesys.Temporary))
	<-ended
}

// manyCallers ask several sources at once; the race detector judges.
func manyCallers(t *testing.T, newSource NewSource) {
	granted := Server(t, Answer{}, Answer{})
	busy := Server(t, Answer{}, Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3"}}, Body: `{}`})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() { // a new source may come up while another is used
			one, _ := source(t, granted.URL, newSource)
			other, _ := source(t, busy.URL, newSource)
			for range 4 {
				callers.Go(func() {
					details, err := one.ConnectionDetails(t.Context())
					assert.NoError(t, err)
					assert.Equal(t, SASLPassword, details.SASLPassword)
				})
				callers.Go(func() {
					_, err := other.ConnectionDetails(t.Context())
					var temporary *genesys.Temporary
					if assert.ErrorAs(t, err, &temporary) {
						assert.Equal(t, 3*time.Second, temporary.RetryAfter)
					}
				})
			}
		})
	}
	callers.Wait()
}

// connectionError: it can quote what the server wrote, so its cause is shown
// only after cleaning, and so is everything that wraps it.
func connectionError(t *testing.T, newSource NewSource) {
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
			_, _ = fmt.Fprintf(conn, "oops-%s-again\r\n\r\n", ClientSecret)
			_ = conn.Close()
		}
	}()
	src, _ := source(t, "http://"+listener.Addr().String(), newSource)
	_, err = src.ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.Temporary))
	require.Contains(t, err.Error(), "malformed HTTP")
	for ; err != nil; err = errors.Unwrap(err) {
		NoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
}

// earlierAnswer: a later refusal may quote the token and the password of one.
func earlierAnswer(t *testing.T, newSource NewSource) {
	echo := `{"message":"` + AccessToken + ` ` + SASLPassword + `"}`
	synctest.Test(t, func(t *testing.T) {
		genesysCloud := &cloud{}
		src := newSource.over(t, genesysCloud)
		_, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		genesysCloud.detail = always(http.StatusForbidden, echo)
		_, err = src.ConnectionDetails(t.Context())
		require.ErrorContains(t, err, "403")
		NoSecret(t, err.Error())

		<-time.After(48 * time.Hour)
		genesysCloud.token = always(http.StatusBadRequest, echo)
		_, err = src.ConnectionDetails(t.Context())
		require.ErrorContains(t, err, "400")
		NoSecret(t, err.Error())
	})
}

// shortSecret: one letter is not cleaned again out of what stands for it.
func shortSecret(t *testing.T, newSource NewSource) {
	refuse := &cloud{token: always(http.StatusUnauthorized, `{"error":"x","error_description":"bend"}`)}
	_, err := newSource.over(t, refuse, func(o *genesys.Options) { o.ClientSecret = "e" }).ConnectionDetails(t.Context())
	var refusal *genesys.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "b[redacted]nd", refusal.Message)
}
