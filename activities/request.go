package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/target"
)

const (
	// drained is how much of an answer is read so that its connection can be
	// used again, in bytes. A longer one costs a new connection instead.
	drained = 64 << 10

	// maxIdle is how many connections may wait for a request: 16 targets with
	// the default max_concurrency of 64. Each takes some 20 KB, with TLS twice that.
	maxIdle = 1024
)

// NewHTTPClient makes the client that all targets share. It follows no
// redirect: a redirect is an answer, and a POST that moves on its own would
// deliver to a target that nobody configured.
func NewHTTPClient() *http.Client {
	return &http.Client{
		Transport: answers{&http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			// A target may get max_concurrency requests at once and each should
			// find a connection waiting: no other bound per host. Idle ones are
			// closed before the 60 s after which many servers and balancers
			// close them.
			MaxIdleConns:        maxIdle,
			MaxIdleConnsPerHost: maxIdle,
			IdleConnTimeout:     50 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true, // the answer's body is not used
		}},
	}
}

// answers leaves http.Client nothing to do with an answer but to hand it on.
type answers struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	// Without it the client follows nothing; with it, it fails where it cannot
	// parse it, and a failure would be tried again.
	response.Header.Del("Location")
	if response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close() // the connection itself, which no context ends
		response.Body = http.NoBody
	}
	return response, nil
}

// answer is what came back of one request: a status, or err.
type answer struct {
	status int
	header http.Header
	body   string // of a failing answer, as much as was read
	err    error
}

// send makes one request and no more. attempt counts from 1.
func (a *Activities) send(ctx context.Context, t *target.Target, e event.Event, message []byte, attempt int, timeout time.Duration) answer {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	request, err := newRequest(ctx, t, e, message, attempt)
	if err != nil {
		return answer{err: err}
	}
	response, err := a.http.Do(request)
	if err != nil {
		return answer{err: transportError(ctx, err, timeout)}
	}
	defer response.Body.Close() //nolint:errcheck // nothing can be done about it, and the answer is known
	got := answer{status: response.StatusCode, header: response.Header}
	if got.status >= 200 && got.status <= 299 {
		_, _ = io.CopyN(io.Discard, response.Body, drained) // delivered, whatever becomes of the body
		return got
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, drained)) // as much as there is
	got.body = string(body)
	return got
}

func newRequest(ctx context.Context, t *target.Target, e event.Event, message []byte, attempt int) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(message))
	if err != nil {
		return nil, errors.New("the target's url cannot be used") // its text would quote the url
	}
	// Without GetBody net/http cannot send a request again by itself, which it
	// otherwise does for one with an Idempotency-Key when a kept-alive
	// connection breaks: a second delivery that nobody would know of.
	request.GetBody = nil

	header := request.Header
	header.Set("User-Agent", "genesys-fanout") // a target may want another
	for name, value := range t.Headers {
		header.Set(name, value)
	}
	header.Set("Content-Type", "application/json")
	header.Set("X-Genesys-Event-ID", event.Escape(e.ID))
	header.Set("X-Genesys-Event-Type", event.Escape(e.Type))
	header.Set("X-Genesys-Interaction-ID", event.Escape(e.InteractionID))
	header.Set("Idempotency-Key", event.Escape(e.ID))
	header.Set("X-Delivery-Attempt", strconv.Itoa(attempt))
	return request, nil
}

var errNoAnswer = errors.New("no answer in time")

// transportError takes the URL out of what net/http says: it may hold secrets.
func transportError(ctx context.Context, err error, timeout time.Duration) error {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		err = urlError.Err
	}
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		return fmt.Errorf("no answer within %s: %w", timeout, err)
	}
	return err
}

// failure says in one line what went wrong, with nothing secret in it.
func (got answer) failure(t *target.Target) string {
	if got.err != nil {
		return errorText(t, got.err.Error())
	}
	line := strconv.Itoa(got.status)
	if text := http.StatusText(got.status); text != "" {
		line += " " + text
	}
	if got.body != "" {
		line += ": " + errorText(t, got.body)
	}
	return line
}
