package e2e

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secureTarget is a target over TLS and HTTP/2, as most are behind a load balancer.
type secureTarget struct {
	url string
	ca  string // file of the certificate that signed its own

	mu   sync.Mutex
	seen map[string]int // requests by event
}

// startSecure serves a target. script is called with the number of the request.
func startSecure(t *testing.T, config *http.HTTP2Config, script func(w http.ResponseWriter, n int)) *secureTarget {
	t.Helper()
	s := &secureTarget{seen: make(map[string]int)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		script(w, s.note(r.Header.Get("Idempotency-Key")))
	}))
	server.EnableHTTP2 = true
	server.Config.HTTP2 = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	return s
}

func (s *secureTarget) note(event string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[event]++
	for _, times := range s.seen {
		n += times
	}
	return n
}

func (s *secureTarget) events() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// once asserts that no event came twice.
func (s *secureTarget) once(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for event, times := range s.seen {
		assert.Equal(t, 1, times, event)
	}
}

// proxy passes bytes on to an address, each way after a delay. Connections that were
// open when it was silenced stay open, and nothing passes on them any more.
type proxy struct {
	address string
	delay   time.Duration
	silent  atomic.Int64 // connections up to this number pass nothing
	opened  atomic.Int64
}

func startProxy(t *testing.T, target *secureTarget, delay time.Duration) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	p := &proxy{address: listener.Addr().String(), delay: delay}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			behind, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.url[len("https://"):])
			if err != nil {
				_ = from.Close()
				continue
			}
			n := p.opened.Add(1)
			go p.pass(from, behind, n)
			go p.pass(behind, from, n)
		}
	}()
	return p
}

func (p *proxy) pass(from, to net.Conn, n int64) {
	defer from.Close() //nolint:errcheck // the other direction closes it too
	defer to.Close()   //nolint:errcheck // the other direction closes it too
	buffer := make([]byte, 32<<10)
	for {
		read, err := from.Read(buffer)
		delay := time.NewTimer(p.delay)
		<-delay.C
		if n > p.silent.Load() {
			if _, err := to.Write(buffer[:read]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) silence() { p.silent.Store(p.opened.Load()) }

// TestConnections_SilentHTTP2ConnectionTakesNoTargetAway: every request shared the
// connection, and nothing found out that it was dead.
func TestConnections_SilentHTTP2ConnectionTakesNoTargetAway(t *testing.T) {
	t.Parallel()
	target := startSecure(t, nil, func(http.ResponseWriter, int) {})
	between := startProxy(t, target, 0)
	s := newStack(t, nil, "  - {name: analytics, url: 'https://"+between.address+"', max_attempts: 10, backoff: {initial: 1s, max: 5s}}\n")
	s.run("worker", "SSL_CERT_FILE="+target.ca)
	s.run("ingest", "FANOUT_EAGER_START=false") // so one process, and one connection, makes all attempts
	s.publish(0, 8)
	s.eventually(func() bool { return target.events() == 8 }, "8 events before the silence")
	before := between.opened.Load()
	between.silence()
	began := time.Now()
	s.publish(8, 40)
	s.eventually(func() bool { return target.events() == 48 }, "48 events")
	assert.Less(t, time.Since(began), 60*time.Second)
	assert.Greater(t, between.opened.Load(), before, "over new connections")
	target.once(t)
	s.waitCommitted(48)
	assert.Empty(t, s.records())
}

// TestConnections_RequestsGivenBackCostNoAttempt: with one attempt allowed, a
// request that the target gave back unprocessed must not become a dead letter.
func TestConnections_RequestsGivenBackCostNoAttempt(t *testing.T) {
	t.Parallel()
	work := func() { // long enough for many requests to be in flight
		timer := time.NewTimer(200 * time.Millisecond)
		<-timer.C
	}
	for name, target := range map[string]*secureTarget{
		"goaway": startSecure(t, nil, func(w http.ResponseWriter, n int) {
			work()
			if n%25 == 0 {
				w.Header().Set("Connection", "close") // in HTTP/2 a GOAWAY
			}
		}),
		"streams": startSecure(t, &http.HTTP2Config{MaxConcurrentStreams: 4}, func(http.ResponseWriter, int) { work() }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 300
			// Requests are on their way while the target says that it takes no more.
			between := startProxy(t, target, 20*time.Millisecond)
			s := newStack(t, nil, "  - {name: analytics, url: 'https://"+between.address+"', max_attempts: 1}\n")
			s.publish(0, events) // all at once, when the processes come
			s.run("worker", "SSL_CERT_FILE="+target.ca)
			s.run("ingest", "SSL_CERT_FILE="+target.ca)
			s.eventually(func() bool { return target.events()+len(s.records()) == events }, "%d events", events)
			assert.Empty(t, s.records())
			target.once(t)
		})
	}
}
