package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry is the process's own Prometheus registry, with Go's and the
// operating system's figures about it.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// Server answers /metrics, /healthz and /readyz.
type Server struct {
	server  *http.Server
	address string
	served  chan error
}

// Listen starts serving on addr, the value of FANOUT_HTTP_ADDR. An address that
// cannot be had is a failure, named with its cure.
func Listen(ctx context.Context, addr string, registry *prometheus.Registry, health *Health) (*Server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("FANOUT_HTTP_ADDR: %w; stop what uses the address or set another", err)
	}
	s := &Server{
		server:  &http.Server{Handler: routes(registry, health), ReadHeaderTimeout: 5 * time.Second},
		address: listener.Addr().String(),
		served:  make(chan error, 1),
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

// Addr is the address that is listened on, with the port that was chosen where
// port 0 was asked for.
func (s *Server) Addr() string { return s.address }

// Shutdown stops listening and waits for requests in flight until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop answering on %s: %w", s.address, err), s.server.Close())
	}
	if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer on %s: %w", s.address, err)
	}
	return nil
}

// Close stops listening at the end of the process: requests in flight get a second.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.Shutdown(ctx) // the process ends either way
}

func routes(registry *prometheus.Registry, health *Health) http.Handler {
	mux := http.NewServeMux()
	// One collector that fails must not hide what all others report.
	metrics := promhttp.HandlerOpts{Registry: registry, ErrorHandling: promhttp.ContinueOnError}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, metrics))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if lines := health.NotReady(); len(lines) > 0 {
			answer(w, http.StatusServiceUnavailable, strings.Join(lines, "\n"))
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
