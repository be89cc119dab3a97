package genesys

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"genesys-fanout/internal/retryafter"
)

// maxBody bounds an answer, in bytes. The real ones have about one KiB.
const maxBody = 1 << 20

// requestTimeout bounds one request, its answer's body included.
const requestTimeout = 10 * time.Second

// answer is what a server said, read to its end or to maxBody.
type answer struct {
	status   int
	header   http.Header
	body     []byte
	overlong bool
}

// recorder reads the whole answer before it hands it on, so that the verdict
// rests on status and body and not on the error texts of a library.
type recorder struct {
	next   http.RoundTripper
	answer *answer
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	_ = resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	r.answer = &answer{status: resp.StatusCode, header: resp.Header.Clone(), body: body[:min(len(body), maxBody)], overlong: len(body) > maxBody}
	resp.Body = io.NopCloser(bytes.NewReader(r.answer.body))
	// The OAuth library reads text/plain as a form; Genesys Cloud answers
	// JSON, whatever a proxy calls it.
	resp.Header.Set("Content-Type", "application/json")
	return resp, nil
}

// ok says whether the request was granted, whatever the body holds.
func (a *answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// passes says whether the same request may be granted later.
func (a *answer) passes() bool {
	return a.status == http.StatusRequestTimeout || a.status == http.StatusTooManyRequests || a.status >= 500
}

// object is the body's JSON object; nil when it is none.
func (a *answer) object() map[string]any {
	var object map[string]any
	if json.Unmarshal(a.body, &object) != nil {
		return nil
	}
	return object
}

// secrets are those that the body itself gives away. Error texts of the same
// body may repeat them.
func (a *answer) secrets() (token, password string) {
	object := a.object()
	token, _ = object["access_token"].(string)
	details, _ := object["connectionDetails"].(map[string]any)
	password, _ = details["saslPassword"].(string)
	return token, password
}

// texts are the text fields of the body's JSON object; nil when it is none.
func (a *answer) texts() map[string]string {
	object := a.object()
	if object == nil {
		return nil
	}
	texts := map[string]string{}
	for name, value := range object {
		if text, ok := value.(string); ok {
			texts[name] = text
		}
	}
	return texts
}

// refusal describes the answer as a Refusal without a cure. Error bodies are
// Genesys' {message, code, contextId} or OAuth's {error, error_description}.
func (a *answer) refusal(request string, clean redactor) *Refusal {
	clean = clean.with(a.secrets())
	texts := a.texts()
	message := first(texts, "message", "error_description", "description")
	if a.status >= 300 && a.status <= 399 {
		message = "redirects are not followed"
	}
	return &Refusal{
		Request:       request,
		Status:        a.status,
		Code:          clean.clean(first(texts, "code", "error")),
		ContextID:     clean.clean(texts["contextId"]),
		CorrelationID: clean.clean(a.header.Get("ININ-Correlation-Id")),
		Message:       clean.clean(message),
	}
}

// temporary describes the answer as a Temporary.
func (a *answer) temporary(request string, clean redactor) *Temporary {
	r := a.refusal(request, clean)
	return &Temporary{
		Request: r.Request, Status: r.Status, Code: r.Code, ContextID: r.ContextID, CorrelationID: r.CorrelationID, Message: r.Message,
		RetryAfter: a.retryAfter(),
	}
}

func first(texts map[string]string, names ...string) string {
	for _, name := range names {
		if texts[name] != "" {
			return texts[name]
		}
	}
	return ""
}

// maxRetryAfter bounds a wait; no caller waits that long.
const maxRetryAfter = 30 * 24 * time.Hour

// retryAfter is the wait that Retry-After asks for, 0 if it asks for none.
func (a *answer) retryAfter() time.Duration {
	wait, _ := retryafter.Parse(a.header, time.Now())
	return min(wait, maxRetryAfter)
}
