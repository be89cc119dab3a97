package devstack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// loopback is the only address of this package.
const loopback = "127.0.0.1"

// Ports are taken below the range from which systems give ports to outgoing
// connections (32768 and up on Linux): a client that connects again and again to
// a closed port of that range may connect to itself and so occupy it.
const (
	firstPort = 10240
	lastPort  = 32767
)

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. It stays
// usable for something that is stopped and started again on it.
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

// Loopback is the host:port of a port here.
func Loopback(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
