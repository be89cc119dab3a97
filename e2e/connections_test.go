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

// secureTarget is a target that uses TLS and HTTP/2, like most targets behind a load balancer.
type secureTarget struct {
	url string
	ca  string // file of the certificate to trust

	mu   sync.Mutex
	seen map[string]int // requests by event
}

// startSecureTarget starts a target. script is called with the number of each request.
func startSecureTarget(t *testing.T, config *http.HTTP2Config, script func(w http.ResponseWriter, n int)) *secureTarget {
	t.Helper()
	s := &secureTarget{seen: make(map[string]int)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		script(w, s.record(r.Header.Get("Idempotency-Key")))
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

// record counts a request for an event and returns the number of all requests.
func (s *secureTarget) record(event string) (n int) {
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

// assertNoDuplicates asserts that no event came twice.
func (s *secureTarget) assertNoDuplicates(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for event, times := range s.seen {
		assert.Equal(t, 1, times, event)
	}
}

// tcpProxy forwards bytes to an address and back, each way after a delay. silence makes it forward
// nothing on the connections that are open then, which stay open.
type tcpProxy struct {
	address string
	delay   time.Duration
	silent  atomic.Int64 // the number of the last connection that is silent
	opened  atomic.Int64 // the number of connections so far
}

func startTCPProxy(t *testing.T, target *secureTarget, delay time.Duration) *tcpProxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	p := &tcpProxy{address: listener.Addr().String(), delay: delay}
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
			go p.forward(from, behind, n)
			go p.forward(behind, from, n)
		}
	}()
	return p
}

func (p *tcpProxy) forward(from, to net.Conn, n int64) {
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

func (p *tcpProxy) silence() { p.silent.Store(p.opened.Load()) }

// All requests share one HTTP/2 connection. If the connection stops answering, the process must
// notice it and open a new one.
func TestConnections_SilentHTTP2ConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	target := startSecureTarget(t, nil, func(http.ResponseWriter, int) {})
	proxy := startTCPProxy(t, target, 0)
	s := newStack(t, nil, `
  - {name: analytics, url: 'https://`+proxy.address+`', max_attempts: 10, backoff: {initial: 1s, max: 5s}}
`)
	s.run("worker", "SSL_CERT_FILE="+target.ca)
	s.run("ingest", "FANOUT_EAGER_START=false") // so that one process, on one connection, makes all attempts
	s.publish(0, 8)
	s.eventually(func() bool { return target.events() == 8 }, "8 events before the silence")
	before := proxy.opened.Load()
	proxy.silence()
	began := time.Now()
	s.publish(8, 40)
	s.eventually(func() bool { return target.events() == 48 }, "48 events")
	assert.Less(t, time.Since(began), 60*time.Second)
	assert.Greater(t, proxy.opened.Load(), before, "the requests used new connections")
	target.assertNoDuplicates(t)
	s.waitCommitted(48)
	assert.Empty(t, s.records())
}

// The target may have only one attempt. A request that it returned unprocessed must not become a dead
// letter.
func TestConnections_UnprocessedRequestsSpendNoAttempt(t *testing.T) {
	t.Parallel()
	work := func() { // takes long enough for many requests to be in flight
		timer := time.NewTimer(200 * time.Millisecond)
		<-timer.C
	}
	for name, target := range map[string]*secureTarget{
		"goaway": startSecureTarget(t, nil, func(w http.ResponseWriter, n int) {
			work()
			if n%25 == 0 {
				w.Header().Set("Connection", "close") // net/http sends this as a GOAWAY in HTTP/2
			}
		}),
		"streams": startSecureTarget(t, &http.HTTP2Config{MaxConcurrentStreams: 4}, func(http.ResponseWriter, int) { work() }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 300
			// The delay lets requests arrive at the target after it has sent its limit or GOAWAY.
			proxy := startTCPProxy(t, target, 20*time.Millisecond)
			s := newStack(t, nil, `
  - {name: analytics, url: 'https://`+proxy.address+`', max_attempts: 1}
`)
			s.publish(0, events) // before the processes start, so that they get all at once
			s.run("worker", "SSL_CERT_FILE="+target.ca)
			s.run("ingest", "SSL_CERT_FILE="+target.ca)
			s.eventually(func() bool { return target.events()+len(s.records()) == events }, "%d events", events)
			assert.Empty(t, s.records())
			target.assertNoDuplicates(t)
		})
	}
}
