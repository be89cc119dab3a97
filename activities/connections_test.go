package activities

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
)

// A load balancer that has dropped a connection does not answer on it, not even with a reset.
func TestConnections_DeadHTTP2ConnectionIsClosedByPing(t *testing.T) {
	servers, clients := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		var got arrivals
		network := newMemory()
		server := &http.Server{
			TLSConfig: servers.Clone(), ErrorLog: log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				assert.Equal(t, 2, r.ProtoMajor)
				got.count(r)
			}),
		}
		go func() { _ = server.ServeTLS(network, "", "") }()
		set := load(t, "https://example.com", `- {name: a, url: $URL}`)
		acts := New(Options{Targets: set})
		acts.network.dial, acts.network.tls = network.dial, clients
		one := set.All()[0]
		require.NoError(t, acts.send(t.Context(), one, eventFor(0), 1, 5*time.Second).err)

		network.silence()
		silenced := time.Now()
		require.Error(t, acts.send(t.Context(), one, eventFor(1), 1, 5*time.Second).err)
		for n := 2; acts.send(t.Context(), one, eventFor(n), 1, 5*time.Second).err != nil; n++ {
			require.Less(t, time.Since(silenced), time.Minute, "the target listens, but no request reaches it")
		}
		assert.LessOrEqual(t, time.Since(silenced), pingAfter+pingTimeout+5*time.Second)
		assert.Equal(t, 2, network.dials(), "over a new connection")

		acts.network.connectionsTo(one).replace()
		require.NoError(t, server.Close())
		synctest.Wait()
	})
}

// A kept-alive connection never asks for the address
// again.
func TestConnections_FollowDNS(t *testing.T) {
	serve := func() (string, *atomic.Int32) {
		var requests atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String(), &requests
	}
	old, oldRequests := serve()
	moved, movedRequests := serve()
	set := load(t, "http://target.example", `- {name: a, url: $URL}`)
	acts := New(Options{Targets: set})
	one := set.All()[0]
	address, now := old, noon
	acts.network.now = func() time.Time { return now }
	acts.network.dial = func(ctx context.Context, network, name string) (net.Conn, error) {
		assert.Equal(t, "target.example:80", name)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	send := func() { require.NoError(t, acts.send(t.Context(), one, eventFor(1), 1, time.Minute).err) }
	send()
	address = moved
	now = now.Add(8 * time.Minute)
	send()
	assert.EqualValues(t, 2, oldRequests.Load(), "a connection is kept while it works")
	now = now.Add(3*time.Minute + time.Second)
	send()
	assert.EqualValues(t, 1, movedRequests.Load())
}

// The connections of a replaced transport are closed when its last request has ended, and not
// before.
func TestConnections_RequestsInFlightEndOnTheirTransport(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	closed := make(chan struct{}, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "evt-0" {
			close(arrived)
			<-release
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	set := load(t, server.URL, `- {name: a, url: $URL}`)
	acts := New(Options{Targets: set})
	one := set.All()[0]
	answers := make(chan response, 1)
	go func() { answers <- acts.send(t.Context(), one, eventFor(0), 1, time.Minute) }()
	<-arrived
	acts.network.connectionsTo(one).replace()
	require.NoError(t, acts.send(t.Context(), one, eventFor(1), 1, time.Minute).err)
	assert.Empty(t, closed, "neither the old transport's connection nor the new one's")
	close(release)
	require.NoError(t, (<-answers).err)
	await.Receive(t, "the end of the old transport's connection, which nothing will use", closed)
}

// The connections may be the reason why the target does not answer. So a breaker that opens
// replaces the transport, and so does each failed probe.
func TestConnections_AreReplacedWhenTheBreakerOpens(t *testing.T) {
	var mu sync.Mutex
	connections := make(map[string]int)
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr]++
		mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
	}, `- {name: a, url: $URL, retry_statuses: [503], max_attempts: 100}`)
	opened := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(connections)
	}
	one := f.targets.All()[0]
	admission := f.acts.admissions.of(one)
	now := noon
	admission.now = func() time.Time { return now }
	for n := range breakerThreshold {
		_, failure := f.deliver(f.delivery(), &fanout.Progress{Attempts: n})
		require.NotNil(t, failure)
	}
	require.True(t, admission.blocked())
	assert.Equal(t, 1, opened(), "a failing answer alone costs no connection")
	for n, delay := 2, firstProbeDelay; n <= 4; n, delay = n+1, 2*delay {
		now = now.Add(delay)
		_, failure := f.deliver(f.delivery(), nil)
		require.Equal(t, fanout.FailureHeld, failure.Type())
		assert.Equal(t, n, opened(), "every probe has a connection of its own")
	}
}

// A full handshake costs both sides a signature.
func TestConnections_TLSSessionsAreResumedOnANewTransport(t *testing.T) {
	var resumed []bool
	acts, one := startHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, 2, r.ProtoMajor)
		resumed = append(resumed, r.TLS.DidResume)
	}, nil, `- {name: a, url: $URL}`)
	for range 3 {
		require.NoError(t, acts.send(t.Context(), one, eventFor(1), 1, time.Minute).err)
		acts.network.connectionsTo(one).replace()
	}
	assert.Equal(t, []bool{false, true, true}, resumed)
}

// Neither goroutines nor connections of replaced transports are left.
func TestConnections_OfReplacedTransportsAreClosed(t *testing.T) {
	const targets, inFlight, rounds = 100, 4, 3
	var open atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	var yaml strings.Builder
	for n := range targets {
		yaml.WriteString("- {name: t" + strconv.Itoa(n) + ", url: $URL, max_concurrency: " + strconv.Itoa(inFlight) + "}\n")
	}
	set := load(t, server.URL, yaml.String())
	acts := New(Options{Targets: set})
	before := runtime.NumGoroutine()
	for range rounds {
		for _, one := range set.All() {
			for _, got := range sendAll(t, acts, one, 2*inFlight, inFlight) {
				require.NoError(t, got.err)
			}
		}
		// A request may get an idle connection while a new one is dialed for it, so for
		// a moment there can be more than one for each request in flight.
		assert.LessOrEqual(t, open.Load(), int64(2*targets*inFlight))
		for _, one := range set.All() {
			acts.network.connectionsTo(one).replace()
		}
		await.Equal(t, "open connections", 0, open.Load)
	}
	await.True(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
}
