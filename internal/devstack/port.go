package devstack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// loopback is the only address on which this package listens, and to which it connects.
const loopback = "127.0.0.1"

// The range of ports. It lies below the ephemeral ports, which the system gives to outgoing
// connections (from 32768 on Linux): a client that connects again and again to a closed port in that
// range may get the same port for its own end, connect to itself, and so occupy the port.
const (
	firstPort = 10240
	lastPort  = 32767
)

// FreePort returns a TCP port of 127.0.0.1 on which nothing listens. A part can be stopped and
// started again on it.
func FreePort(ctx context.Context) (int, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		var l net.Listener
		if l, err = listen(ctx, Loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port on %s: %w", loopback, err)
}

// Loopback returns the host:port of a port of 127.0.0.1.
func Loopback(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
