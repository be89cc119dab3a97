package devstack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HTTPAddr returns the host:port where the process serves /readyz and /metrics.
func (p *Process) HTTPAddr() string { return p.options.HTTPAddr }

// WaitReady waits until GET /readyz answers with status 200.
func (p *Process) WaitReady(ctx context.Context) error {
	return p.WaitStatus(ctx, "/readyz", http.StatusOK)
}

// WaitStatus waits until GET path answers with status. It fails when the process ends, when ctx ends,
// and when the answer has been the same for await.Patience.
func (p *Process) WaitStatus(ctx context.Context, path string, status int) error {
	return p.await(ctx, fmt.Sprintf("status %d of GET %s", status, path), func() (any, bool) {
		got, err := p.Get(ctx, path)
		if err != nil {
			return "no answer", false
		}
		return got, got == status
	})
}

// Get sends GET path and returns the status of the answer.
func (p *Process) Get(ctx context.Context, path string) (int, error) {
	status, _, err := p.Read(ctx, path)
	return status, err
}

// Metric returns the value of a sample of /metrics, such as "name{label=\"value\"}". It returns 0 if
// there is no such sample.
func (p *Process) Metric(ctx context.Context, sample string) (float64, error) {
	_, body, err := p.Read(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, nil
}

// Read sends GET path and returns the status and the body of the answer.
func (p *Process) Read(ctx context.Context, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.options.HTTPAddr+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), err
}
