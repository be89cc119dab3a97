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

// NewRegistry returns a Prometheus registry with the metrics of the Go runtime and of the
// operating system about this process.
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

// Listen starts serving on addr, the value of FANOUT_HTTP_ADDR. If it cannot listen there, the
// error names the setting and the cure.
func Listen(ctx context.Context, addr string, registry *prometheus.Registry, health *Health) (*Server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("FANOUT_HTTP_ADDR: %w; stop the process that uses the address, or set another address", err)
	}
	s := &Server{
		server:  &http.Server{Handler: routes(registry, health), ReadHeaderTimeout: 5 * time.Second},
		address: listener.Addr().String(),
		served:  make(chan error, 1),
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

// Addr returns the address on which the server listens. If addr of Listen had port 0, it
// contains the port that the operating system chose.
func (s *Server) Addr() string { return s.address }

// Shutdown stops listening, and waits for the requests in flight until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop answering on %s: %w", s.address, err), s.server.Close())
	}
	if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer on %s: %w", s.address, err)
	}
	return nil
}

// Close stops listening, and waits for the requests in flight for at most a second. It is for
// the end of the process.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.Shutdown(ctx) // the process ends in any case
}

func routes(registry *prometheus.Registry, health *Health) http.Handler {
	mux := http.NewServeMux()
	// If one collector fails, the metrics of all others must still be served.
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
