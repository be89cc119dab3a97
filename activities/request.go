package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

const (
	// drainLimit is how much of a response's body is read, in bytes, and drainTimeout is how
	// long it is read after a 2xx, whose verdict does not depend on the body. A body that was
	// read to its end lets the next request use the same connection. After a longer body, the
	// next request needs a new connection.
	drainLimit   = 64 << 10
	drainTimeout = 250 * time.Millisecond
)

// response is the target's answer to one request, or the error if there was none.
type response struct {
	status int
	header http.Header
	body   string // the beginning of the body; empty after a 2xx
	err    error
}

// send sends one request. attempt counts from 1.
func (a *Activities) send(ctx context.Context, t *target.Target, d fanout.DeliverInput, attempt int, timeout time.Duration) response {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	request, err := newRequest(ctx, t, d, attempt)
	if err != nil {
		return response{err: err}
	}
	connections := a.network.connectionsTo(t)
	transport := connections.beginRequest()
	defer connections.endRequest(transport)
	httpResponse, err := transport.client.Do(request)
	if err != nil {
		return response{err: transportError(ctx, err, timeout)}
	}
	defer httpResponse.Body.Close() //nolint:errcheck // the verdict does not depend on it
	received := response{status: httpResponse.StatusCode, header: httpResponse.Header}
	if fanout.IsSuccess(received.status) {
		drain := time.AfterFunc(drainTimeout, cancel)
		defer drain.Stop()
		_, _ = io.CopyN(io.Discard, httpResponse.Body, drainLimit) // the event is delivered, also if the body cannot be read
		return received
	}
	body, _ := io.ReadAll(io.LimitReader(httpResponse.Body, drainLimit)) // if reading fails, the part that was read is kept
	received.body = string(body)
	return received
}

func newRequest(ctx context.Context, t *target.Target, d fanout.DeliverInput, attempt int) (*http.Request, error) {
	body := &repeatableBody{ctx: ctx, content: d.Body}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: body.countConnection})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body.content))
	if err != nil {
		return nil, errors.New("the target's url is invalid; correct it in targets.yaml") // err would quote the url, which may have secrets
	}
	request.GetBody = body.getBody

	set := func(name, value string) { request.Header[headerKey(name)] = []string{value} }
	set("User-Agent", "genesys-fanout") // before t.Headers, which may replace it
	for name, value := range t.Headers {
		set(name, value)
	}
	set("Content-Type", "application/json")
	set("X-Genesys-Event-ID", event.Escape(d.Event.ID))
	set("X-Genesys-Event-Type", event.Escape(d.Event.Type))
	set("X-Genesys-Interaction-ID", event.Escape(d.Event.InteractionID))
	if at := d.Event.PublishedAt; !at.IsZero() {
		set("X-Genesys-Event-Time", at.UTC().Format(time.RFC3339Nano))
	}
	if from := d.Source; from.Topic != "" {
		set("X-Kafka-Topic", event.Escape(from.Topic))
		set("X-Kafka-Partition", strconv.FormatInt(int64(from.Partition), 10))
		set("X-Kafka-Offset", strconv.FormatInt(from.Offset, 10))
	}
	set("Idempotency-Key", event.Escape(d.Event.ID))
	set("X-Delivery-Attempt", strconv.Itoa(attempt))
	return request, nil
}

var errNoAnswer = errors.New("no answer in time")

// transportError removes the URL from net/http's error, because the URL may have secrets.
func transportError(ctx context.Context, err error, timeout time.Duration) error {
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err
	}
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		return fmt.Errorf("no answer within %s: %w", timeout, err)
	}
	return err
}

// describeFailure returns the error of a delivery that got this response, without secrets.
func (r response) describeFailure(t *target.Target) string {
	if r.err != nil {
		return errorText(t, r.err.Error())
	}
	text := strconv.Itoa(r.status)
	if name := http.StatusText(r.status); name != "" {
		text += " " + name
	}
	if r.body != "" {
		text += ": " + errorText(t, r.body)
	}
	return text
}
