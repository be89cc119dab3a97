package devstack

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// outageListener is a listener on a fixed address that simulates outages. It can close its port and
// its connections, and later open the same port again. The server that accepts from it only sees
// that no connection arrives for a while, so it keeps its state through the outage.
type outageListener struct {
	address  net.Addr
	accepted chan net.Conn
	closed   chan struct{} // closed by Close

	mu      sync.Mutex
	inner   net.Listener // nil while the port is closed
	conns   map[*outageConn]struct{}
	silence chan struct{} // nil unless silent; closed when the silence ends
	ended   bool          // Close was called
}

// newListener opens a listener on port, or on a free port if port is 0.
func newListener(ctx context.Context, port int) (*outageListener, error) {
	if port == 0 {
		var err error
		if port, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	l := &outageListener{
		address:  &net.TCPAddr{IP: net.ParseIP(loopback), Port: port},
		accepted: make(chan net.Conn),
		closed:   make(chan struct{}),
		conns:    make(map[*outageConn]struct{}),
	}
	return l, l.openPort(ctx)
}

// openPortFor limits how long openPort waits for its port, which another process may have occupied
// for a moment.
const openPortFor = 10 * time.Second

// openPort listens again. It does nothing if the port is open.
func (l *outageListener) openPort(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return net.ErrClosed
	}
	if l.inner != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openPortFor)
	defer cancel()
	var inner net.Listener
	err := awaitSuccess(ctx, "port "+l.address.String(), func() (_ any, err error) {
		inner, err = listen(ctx, l.address.String())
		return "", err
	})
	if err != nil {
		return err
	}
	l.inner = inner
	go l.acceptFrom(inner)
	return nil
}

func (l *outageListener) acceptFrom(inner net.Listener) {
	for {
		conn, err := inner.Accept()
		if err != nil {
			return // the port was closed
		}
		wrapped := &outageConn{Conn: conn, listener: l, closed: make(chan struct{})}
		if !l.register(inner, wrapped) {
			_ = conn.Close()
			return
		}
		select {
		case l.accepted <- wrapped:
		case <-l.closed:
			_ = wrapped.Close()
			return
		}
	}
}

// register adds a connection, and reports whether the port that accepted it is still open.
func (l *outageListener) register(inner net.Listener, conn *outageConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner != inner {
		return false
	}
	l.conns[conn] = struct{}{}
	return true
}

// closePort closes the port and every connection.
func (l *outageListener) closePort() {
	l.mu.Lock()
	inner := l.inner
	l.inner = nil
	l.mu.Unlock()
	if inner != nil {
		_ = inner.Close()
	}
	l.closeConnections()
}

// closeConnections closes the connections that are open. The port stays as it is.
func (l *outageListener) closeConnections() {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// Accept implements net.Listener. It waits while the port is closed.
func (l *outageListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *outageListener) Close() error {
	l.mu.Lock()
	first := !l.ended
	l.ended = true
	l.mu.Unlock()
	if first {
		close(l.closed)
	}
	l.closePort()
	return nil
}

// Addr implements net.Listener. The address stays the same while the port is closed.
func (l *outageListener) Addr() net.Addr { return l.address }

// beginSilence makes all connections wait before they read or write anything, as behind a network
// that loses every packet. They stay open, and new ones are accepted.
func (l *outageListener) beginSilence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silence == nil {
		l.silence = make(chan struct{})
	}
}

func (l *outageListener) endSilence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silence != nil {
		close(l.silence)
		l.silence = nil
	}
}

// outageConn is a connection of an outageListener.
type outageConn struct {
	net.Conn
	listener *outageListener
	once     sync.Once
	closed   chan struct{}
}

// Close implements net.Conn. It also removes the connection from its listener.
func (c *outageConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *outageConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.awaitEndOfSilence() // after the read, because a silence may have begun during it
	return n, err
}

func (c *outageConn) Write(p []byte) (int, error) {
	c.awaitEndOfSilence()
	return c.Conn.Write(p)
}

// awaitEndOfSilence waits while the listener is silent, at most until the connection is closed.
func (c *outageConn) awaitEndOfSilence() {
	c.listener.mu.Lock()
	silence := c.listener.silence
	c.listener.mu.Unlock()
	if silence == nil {
		return
	}
	select {
	case <-silence:
	case <-c.closed:
	}
}

// reset closes the connection with a TCP reset, as when the peer has crashed.
func (c *outageConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
