package activities

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
)

// http.Client fails if it cannot parse the Location, and the delivery would be retried.
func TestSend_RedirectWithAnInvalidLocationIsRejected(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://[::1")
		w.WriteHeader(http.StatusFound)
	}, `- {name: a, url: $URL}`)
	outcome := f.firstAttempt(f.delivery())
	assert.Equal(t, fanout.Rejected, outcome.Verdict)
	assert.Equal(t, http.StatusFound, outcome.Progress.StatusCode)
}

// The body of such a response is the connection itself, which no timeout ends.
func TestSend_SwitchingProtocolsEndsInTime(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\n")
			_ = buffered.Flush()
		}
	}, `- {name: a, url: $URL, timeout: 1s}`)
	done := make(chan fanout.Outcome, 1)
	go func() { done <- f.firstAttempt(f.delivery()) }()
	outcome := await.Receive(t, "the end of the request, which has a permit", done)
	assert.Equal(t, fanout.Rejected, outcome.Verdict)
	assert.Equal(t, http.StatusSwitchingProtocols, outcome.Progress.StatusCode)
}

// The first half of a secret would not be redacted.
func TestErrors_DoNotCutASecretInHalf(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, strings.Repeat("x", quoteLimit-8), r.Header.Get("Authorization"))
	}, strings.Replace(oneTarget, "?key=${X}", "", 1))
	got := f.firstAttempt(f.delivery()).Progress.Error
	assert.Contains(t, got, "xxx")
	assert.NotContains(t, got, "Bearer s")
	assert.LessOrEqual(t, len(got), len("403 Forbidden: ")+quoteLimit)
}

// In an outage with long error pages, not each attempt should cost a handshake.
func TestSend_ReusesTheConnectionAfterAFailure(t *testing.T) {
	connections := make(map[string]bool)
	page := bytes.Repeat([]byte("x"), 16<<10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(page)
	}))
	t.Cleanup(server.Close)
	acts := New(Options{Targets: load(t, server.URL, `- {name: a, url: $URL}`)})
	one, ok := acts.targets.Get("a")
	require.True(t, ok)
	for range 3 {
		require.Equal(t, http.StatusServiceUnavailable, acts.send(t.Context(), one, fanout.DeliverInput{Message: event.Message{Event: event.Event{ID: "evt-1"}, Body: event.Body(message)}}, 1, time.Minute).status)
	}
	assert.Len(t, connections, 1)
}

// max_concurrency is above its default.
func TestSend_ReusesAllConnectionsOfABurst(t *testing.T) {
	const burst = 100
	var opened atomic.Int32
	var all sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		all.Done()
		all.Wait()
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	acts := New(Options{Targets: load(t, server.URL, `- {name: a, url: $URL, max_concurrency: 100}`)})
	one, ok := acts.targets.Get("a")
	require.True(t, ok)
	for range 2 {
		all.Add(burst)
		var sent sync.WaitGroup
		for range burst {
			sent.Go(func() {
				assert.Equal(t, http.StatusOK, acts.send(t.Context(), one, fanout.DeliverInput{Message: event.Message{Event: event.Event{ID: "evt-1"}, Body: event.Body(message)}}, 1, time.Minute).status)
			})
		}
		sent.Wait()
	}
	assert.EqualValues(t, burst, opened.Load())
}

// The status alone says that the event is delivered.
func TestSend_BodyThatNeverEndsDelaysNoDelivery(t *testing.T) {
	gone := make(chan struct{})
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "and so")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}, `- {name: a, url: $URL, timeout: 1m}`)
	began := time.Now()
	outcome := f.firstAttempt(f.delivery())
	assert.Equal(t, fanout.Delivered, outcome.Verdict)
	assert.Less(t, time.Since(began), 30*time.Second)
	<-gone // the connection does not stay open for it
}

// The target has not seen the request: a forward proxy itself answers the requests for an http
// target, and does not connect to an https target.
func TestFirstAttempt_ProxyThatWantsAPasswordIsRetried(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	for scheme, status := range map[string]int{"http": http.StatusProxyAuthRequired, "https": 0} {
		set := load(t, scheme+"://target.example", `- {name: a, url: $URL}`)
		acts := New(Options{Targets: set})
		acts.network.connectionsTo(set.All()[0]).newTransport = func() *http.Transport { return &http.Transport{Proxy: http.ProxyURL(address)} }
		f := &fixture{t: t, targets: set, acts: acts}
		outcome := f.firstAttempt(f.delivery())
		assert.Equal(t, fanout.Retry, outcome.Verdict, scheme)
		assert.Equal(t, status, outcome.Progress.StatusCode, scheme)
		assert.Contains(t, outcome.Progress.Error, "Proxy Authentication Required", scheme)
		assert.Equal(t, 1, acts.admissions.of(set.All()[0]).failures, "it counts towards the breaker")
	}
}
