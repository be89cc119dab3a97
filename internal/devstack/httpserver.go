package devstack

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// httpServer is an HTTP server on loopback that can have outages.
type httpServer struct {
	listener *outageListener
	server   *http.Server
	served   chan struct{} // closed when Serve has returned
}

// startHTTPServer serves handler on port, or on a free port if port is 0.
func startHTTPServer(ctx context.Context, port int, handler http.Handler) (*httpServer, error) {
	listener, err := newListener(ctx, port)
	if err != nil {
		return nil, err
	}
	s := &httpServer{
		listener: listener,
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: time.Minute,
			ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
				return context.WithValue(ctx, connKey{}, conn)
			},
			ErrorLog: log.New(io.Discard, "", 0), // tests break connections on purpose
		},
		served: make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(listener) // ends with Close
	}()
	return s, nil
}

// connKey is the context key of a request's connection.
type connKey struct{}

// resetConnection closes the connection of a request with a TCP reset.
func resetConnection(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*outageConn); ok {
		conn.reset()
	}
}

// URL returns the server's URL without a path.
func (s *httpServer) URL() string { return "http://" + s.Addr() }

// Addr returns the server's host:port.
func (s *httpServer) Addr() string { return s.listener.Addr().String() }

// Stop begins an outage: the port is closed and every connection breaks, as in a crash.
func (s *httpServer) Stop() { s.listener.closePort() }

// Start ends an outage: it opens the same port again.
func (s *httpServer) Start(ctx context.Context) error { return s.listener.openPort(ctx) }

// Close ends the server for good.
func (s *httpServer) Close() {
	_ = s.server.Close()
	<-s.served
}
