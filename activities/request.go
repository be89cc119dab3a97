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
	// drained and drainTime bound how much of an answer is read so that its
	// connection can be used again, in bytes, and for how long if the verdict is
	// known without it. A longer answer costs a new connection instead.
	drained   = 64 << 10
	drainTime = 250 * time.Millisecond
)

// answer is the outcome of one request: a status, or err.
type answer struct {
	status int
	header http.Header
	body   string // of a failing answer, as much as was read
	err    error
}

// send makes one attempt. attempt counts from 1.
func (a *Activities) send(ctx context.Context, t *target.Target, d fanout.DeliverInput, attempt int, timeout time.Duration) answer {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	request, err := newRequest(ctx, t, d, attempt)
	if err != nil {
		return answer{err: err}
	}
	connections := a.network.to(t)
	transport := connections.borrow()
	defer connections.giveBack(transport)
	response, err := transport.client.Do(request)
	if err != nil {
		return answer{err: transportError(ctx, err, timeout)}
	}
	defer response.Body.Close() //nolint:errcheck // nothing can be done about it, and the answer is known
	got := answer{status: response.StatusCode, header: response.Header}
	if got.status >= 200 && got.status <= 299 {
		limit := time.AfterFunc(drainTime, cancel)
		defer limit.Stop()
		_, _ = io.CopyN(io.Discard, response.Body, drained) // the event is delivered, whatever becomes of the body
		return got
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, drained)) // as much as there is
	got.body = string(body)
	return got
}

func newRequest(ctx context.Context, t *target.Target, d fanout.DeliverInput, attempt int) (*http.Request, error) {
	message := &repeatable{ctx: ctx, message: d.Body}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: message.gotConnection})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(message.message))
	if err != nil {
		return nil, errors.New("the target's url cannot be used") // its text would quote the url
	}
	request.GetBody = message.again

	set := func(name, value string) { request.Header[headerKey(name)] = []string{value} }
	set("User-Agent", "genesys-fanout") // a target may want another
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

// transportError removes the URL from net/http's error, because it may hold secrets.
func transportError(ctx context.Context, err error, timeout time.Duration) error {
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err
	}
	if errors.Is(context.Cause(ctx), errNoAnswer) {
		return fmt.Errorf("no answer within %s: %w", timeout, err)
	}
	return err
}

// failure describes in one line what went wrong, without secrets.
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
