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
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/genesys"
)

// testFailures checks the errors of failed requests, and when they are returned.
func testFailures(t *testing.T, newSource NewSource) {
	t.Run("Retry-After in seconds and as a date", func(t *testing.T) { testRetryAfter(t, newSource) })
	t.Run("a request times out after ten seconds", func(t *testing.T) { testRequestTimeout(t, newSource) })
	t.Run("a body that breaks off is transient", func(t *testing.T) { testBrokenBody(t, newSource) })
	t.Run("a body over 1 MiB is rejected", func(t *testing.T) { testBodyLimit(t, newSource) })
	t.Run("a canceled context ends the request", func(t *testing.T) { testCanceledContext(t, newSource) })
	t.Run("concurrent use of several sources", func(t *testing.T) { testConcurrentUse(t, newSource) })
	t.Run("a connection error shows no secret", func(t *testing.T) { testConnectionErrorShowsNoSecret(t, newSource) })
	t.Run("an error shows no secret of an earlier answer", func(t *testing.T) { testErrorShowsNoEarlierSecret(t, newSource) })
	t.Run("a short secret does not damage the redaction", func(t *testing.T) { testShortSecret(t, newSource) })
}

func testRetryAfter(t *testing.T, newSource NewSource) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, "7, 7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "": 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
			"99999999999999999": 30 * 24 * time.Hour,
		} {
			for _, status := range []int{429, 503} {
				busy := respondAlways(status, `{"code":"too.many","contextId":"ctx-1","message":"slow\ndown"}`, "Retry-After", value, "ININ-Correlation-Id", "corr-1")
				for request, genesysCloud := range map[string]*fakeCloud{tokenRequest: {onToken: busy}, detailsRequest: {onDetails: busy}} {
					_, err := newSource.withTransport(t, genesysCloud).ConnectionDetails(t.Context())
					assert.Equal(t, &genesys.TransientError{
						Request: request, Status: status, Code: "too.many", ContextID: "ctx-1", CorrelationID: "corr-1",
						Message: "slow down", RetryAfter: want,
					}, err, value)
					assert.EqualError(t, err, fmt.Sprintf("genesys: %s: status %d, code too.many: slow down (contextId ctx-1) (correlation id corr-1)", request, status))
					assert.LessOrEqual(t, genesysCloud.tokenRequests.Load(), int32(1), "a second request without a wait")
					assert.LessOrEqual(t, genesysCloud.detailsRequests.Load(), int32(1), "a second request without a wait")
				}
			}
		}
	})
}

func testRequestTimeout(t *testing.T, newSource NewSource) {
	hang := func(_ int32, r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for request, genesysCloud := range map[string]*fakeCloud{tokenRequest: {onToken: hang}, detailsRequest: {onDetails: hang}} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			_, err := newSource.withTransport(t, genesysCloud).ConnectionDetails(t.Context())
			var transient *genesys.TransientError
			require.ErrorAs(t, err, &transient)
			assert.Equal(t, request, transient.Request)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 10*time.Second, time.Since(begin))
		})
	}
}

func testBrokenBody(t *testing.T, newSource NewSource) {
	broken := errors.New("connection reset")
	_, err := newSource.withTransport(t, &fakeCloud{onDetails: func(int32, *http.Request) (*http.Response, error) {
		resp := respond(http.StatusOK, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"conn`), iotest.ErrReader(broken)))
		return resp, nil
	}}).ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.TransientError))
	require.ErrorIs(t, err, broken)
}

func testBodyLimit(t *testing.T, newSource NewSource) {
	var read int
	endless := func(int32, *http.Request) (*http.Response, error) {
		resp := respond(http.StatusOK, "")
		resp.Body = io.NopCloser(spaces{&read})
		return resp, nil
	}
	for request, genesysCloud := range map[string]*fakeCloud{tokenRequest: {onToken: endless}, detailsRequest: {onDetails: endless}} {
		_, err := newSource.withTransport(t, genesysCloud).ConnectionDetails(t.Context())
		var rejected *genesys.RejectedError
		require.ErrorAs(t, err, &rejected)
		assert.Equal(t, request, rejected.Request)
		assert.Contains(t, rejected.Message, "1 MiB")
		assert.LessOrEqual(t, read, 1<<20+1)
		read = 0
	}
}

// spaces is an endless body. read counts the bytes that were read.
type spaces struct{ read *int }

func (s spaces) Read(p []byte) (int, error) {
	n := copy(p, bytes.Repeat([]byte(" "), len(p)))
	*s.read += n
	return n, nil
}

// testCanceledContext checks that a canceled caller returns at once, and that its
// request ends too.
func testCanceledContext(t *testing.T, newSource NewSource) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	granting := NewServer(t, Answer{}, Answer{}).Config.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			granting.ServeHTTP(w, r)
			return
		}
		close(arrived)
		<-r.Context().Done()
		close(ended)
	}))
	t.Cleanup(server.Close)
	src, _ := newLoggedSource(t, server.URL, newSource)
	ctx, cancel := context.WithCancelCause(t.Context())
	returned := make(chan error, 1)
	go func() {
		_, err := src.ConnectionDetails(ctx)
		returned <- err
	}()
	<-arrived
	reason := errors.New("shutting down")
	cancel(reason)
	err := <-returned
	require.ErrorIs(t, err, reason)
	assert.NotErrorAs(t, err, new(*genesys.TransientError))
	<-ended
}

// testConcurrentUse calls several sources at once, for the race detector.
func testConcurrentUse(t *testing.T, newSource NewSource) {
	granting := NewServer(t, Answer{}, Answer{})
	busy := NewServer(t, Answer{}, Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3"}}, Body: `{}`})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() { // makes a source while others are used
			one, _ := newLoggedSource(t, granting.URL, newSource)
			other, _ := newLoggedSource(t, busy.URL, newSource)
			for range 4 {
				callers.Go(func() {
					details, err := one.ConnectionDetails(t.Context())
					assert.NoError(t, err)
					assert.Equal(t, SASLPassword, details.SASLPassword)
				})
				callers.Go(func() {
					_, err := other.ConnectionDetails(t.Context())
					var transient *genesys.TransientError
					if assert.ErrorAs(t, err, &transient) {
						assert.Equal(t, 3*time.Second, transient.RetryAfter)
					}
				})
			}
		})
	}
	callers.Wait()
}

// testConnectionErrorShowsNoSecret checks an error that quotes what the server wrote.
// Every error in its chain must be redacted.
func testConnectionErrorShowsNoSecret(t *testing.T, newSource NewSource) {
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
	src, _ := newLoggedSource(t, "http://"+listener.Addr().String(), newSource)
	_, err = src.ConnectionDetails(t.Context())
	require.ErrorAs(t, err, new(*genesys.TransientError))
	require.Contains(t, err.Error(), "malformed HTTP")
	for ; err != nil; err = errors.Unwrap(err) {
		AssertNoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
}

// testErrorShowsNoEarlierSecret checks rejections that quote the token and the password
// of an earlier answer.
func testErrorShowsNoEarlierSecret(t *testing.T, newSource NewSource) {
	echo := `{"message":"` + AccessToken + ` ` + SASLPassword + `"}`
	synctest.Test(t, func(t *testing.T) {
		genesysCloud := &fakeCloud{}
		src := newSource.withTransport(t, genesysCloud)
		_, err := src.ConnectionDetails(t.Context())
		require.NoError(t, err)
		genesysCloud.onDetails = respondAlways(http.StatusForbidden, echo)
		_, err = src.ConnectionDetails(t.Context())
		require.ErrorContains(t, err, "403")
		AssertNoSecret(t, err.Error())

		<-time.After(48 * time.Hour)
		genesysCloud.onToken = respondAlways(http.StatusBadRequest, echo)
		_, err = src.ConnectionDetails(t.Context())
		require.ErrorContains(t, err, "400")
		AssertNoSecret(t, err.Error())
	})
}

// testShortSecret checks that a secret of one letter is not replaced again inside the
// word that replaced it.
func testShortSecret(t *testing.T, newSource NewSource) {
	rejecting := &fakeCloud{onToken: respondAlways(http.StatusUnauthorized, `{"error":"x","error_description":"bend"}`)}
	_, err := newSource.withTransport(t, rejecting, func(o *genesys.Options) { o.ClientSecret = "e" }).ConnectionDetails(t.Context())
	var rejected *genesys.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, "b[redacted]nd", rejected.Message)
}
