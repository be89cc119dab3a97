package devstack

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// gate is a listener on one fixed address that can be shut, which also drops
// its connections, and opened again. A server that accepts from it sees only a
// pause, so it keeps its state through the outage.
type gate struct {
	address  net.Addr
	accepted chan net.Conn
	closed   chan struct{}

	mu     sync.Mutex
	inner  net.Listener // nil while shut
	conns  map[*gateConn]struct{}
	silent chan struct{} // nil unless silent; closed at the end of the silence
	ended  bool
}

// newGate opens a gate on port, or on a free one when port is 0.
func newGate(ctx context.Context, port int) (*gate, error) {
	if port == 0 {
		var err error
		if port, err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	g := &gate{
		address:  &net.TCPAddr{IP: net.ParseIP(loopback), Port: port},
		accepted: make(chan net.Conn),
		closed:   make(chan struct{}),
		conns:    make(map[*gateConn]struct{}),
	}
	return g, g.open(ctx)
}

// reopenFor bounds how long open waits for its port: another process may have
// taken it meanwhile for a moment.
const reopenFor = 10 * time.Second

// open listens again; it does nothing on an open gate.
func (g *gate) open(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return net.ErrClosed
	}
	if g.inner != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reopenFor)
	defer cancel()
	inner, err := listen(ctx, g.address.String())
	for err != nil {
		if !pause(ctx) {
			return fmt.Errorf("listen on %s: %w", g.address, err)
		}
		inner, err = listen(ctx, g.address.String())
	}
	g.inner = inner
	go g.accept(inner)
	return nil
}

func (g *gate) accept(inner net.Listener) {
	for {
		conn, err := inner.Accept()
		if err != nil {
			return // shut
		}
		one := &gateConn{Conn: conn, gate: g, closed: make(chan struct{})}
		if !g.register(inner, one) {
			_ = conn.Close()
			return
		}
		select {
		case g.accepted <- one:
		case <-g.closed:
			_ = one.Close()
			return
		}
	}
}

func (g *gate) register(inner net.Listener, conn *gateConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner != inner {
		return false
	}
	g.conns[conn] = struct{}{}
	return true
}

// shut closes the port and drops every connection.
func (g *gate) shut() {
	g.mu.Lock()
	inner := g.inner
	g.inner = nil
	g.mu.Unlock()
	if inner != nil {
		_ = inner.Close()
	}
	g.drop()
}

// drop closes the connections of now; the port stays as it is.
func (g *gate) drop() {
	g.mu.Lock()
	conns := make([]*gateConn, 0, len(g.conns))
	for conn := range g.conns {
		conns = append(conns, conn)
	}
	g.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// Accept implements net.Listener; it waits while the gate is shut.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case conn := <-g.accepted:
		return conn, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (g *gate) Close() error {
	g.mu.Lock()
	first := !g.ended
	g.ended = true
	g.mu.Unlock()
	if first {
		close(g.closed)
	}
	g.shut()
	return nil
}

// Addr implements net.Listener; it stays the same while the gate is shut.
func (g *gate) Addr() net.Addr { return g.address }

// silence keeps all connections open, and takes new ones, but neither reads nor
// writes anything, as a network does that loses every packet.
func (g *gate) silence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.silent == nil {
		g.silent = make(chan struct{})
	}
}

// speak ends a silence.
func (g *gate) speak() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.silent != nil {
		close(g.silent)
		g.silent = nil
	}
}

// gateConn tells its gate when it is closed, and waits while the gate is silent.
type gateConn struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
}

func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *gateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.await() // what was on its way when the silence began
	return n, err
}

func (c *gateConn) Write(p []byte) (int, error) {
	c.await()
	return c.Conn.Write(p)
}

// await waits for the end of a silence, or of the connection.
func (c *gateConn) await() {
	c.gate.mu.Lock()
	silent := c.gate.silent
	c.gate.mu.Unlock()
	if silent == nil {
		return
	}
	select {
	case <-silent:
	case <-c.closed:
	}
}

// reset breaks the connection without a goodbye, as a crashed peer does.
func (c *gateConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// pollEvery is the pace at which something without a signal of its own is asked.
const pollEvery = 50 * time.Millisecond

// pause waits for one such pace and reports whether ctx is still alive.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
