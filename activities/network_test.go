package activities

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// eventFor returns a delivery of the event with this number.
func eventFor(n int) fanout.DeliverInput {
	return fanout.DeliverInput{Message: event.Message{Event: event.Event{ID: "evt-" + strconv.Itoa(n)}, Body: event.Body(message)}}
}

// arrivals counts the requests for each event that a target's handler saw.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]int
}

// count counts a request and returns how many there are so far.
func (a *arrivals) count(r *http.Request) (total int) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = make(map[string]int)
	}
	a.seen[r.Header.Get("Idempotency-Key")]++
	for _, n := range a.seen {
		total += n
	}
	return total
}

// requireOnce asserts that this many events arrived, each of them once.
func (a *arrivals) requireOnce(t *testing.T, events int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	assert.Len(t, a.seen, events)
	for id, n := range a.seen {
		assert.Equal(t, 1, n, id)
	}
}

// startHTTP2 serves a target over TLS with HTTP/2. It returns Activities that trust its
// certificate.
func startHTTP2(t *testing.T, handler http.HandlerFunc, config *http.HTTP2Config, yaml string) (*Activities, *target.Target) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.HTTP2 = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	set := load(t, server.URL, yaml)
	acts := New(Options{Targets: set})
	acts.network.tls = trusting(server)
	return acts, set.All()[0]
}

func trusting(server *httptest.Server) *tls.Config {
	return &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
}

// sendAll sends this many events, up to inFlight at once, and returns the responses.
func sendAll(t *testing.T, acts *Activities, one *target.Target, events, inFlight int) []response {
	t.Helper()
	answers := make([]response, events)
	slots := make(chan struct{}, inFlight)
	var all sync.WaitGroup
	for n := range events {
		slots <- struct{}{}
		all.Go(func() {
			answers[n] = acts.send(t.Context(), one, eventFor(n), 1, 10*time.Second)
			<-slots
		})
	}
	all.Wait()
	return answers
}

// memory is a network without sockets, for a synctest bubble. After a connection was silenced,
// its data is lost in both directions, and neither side gets an error.
type memory struct {
	accept chan net.Conn
	closed chan struct{}

	mu    sync.Mutex
	conns []*memoryConn
}

type memoryConn struct {
	net.Conn
	silent atomic.Bool
}

func newMemory() *memory {
	return &memory{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (m *memory) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	conn := &memoryConn{Conn: client}
	m.mu.Lock()
	m.conns = append(m.conns, conn)
	m.mu.Unlock()
	select {
	case m.accept <- server:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) dials() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}

func (m *memory) silence() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, conn := range m.conns {
		conn.silent.Store(true)
	}
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.accept:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (m *memory) Close() error { close(m.closed); return nil }

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

func (c *memoryConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.silent.Load() {
			return n, err
		}
	}
}

func (c *memoryConn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// certificate is that of a server for example.com which speaks HTTP/2; clients
// trusts it.
func certificate(t *testing.T) (servers, clients *tls.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.EnableHTTP2 = true
	server.StartTLS()
	server.Close()
	return server.TLS, trusting(server)
}
