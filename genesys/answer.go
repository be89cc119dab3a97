package genesys

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"genesys-fanout/internal/retryafter"
)

// maxBody bounds the body of an answer, in bytes. Real answers have about 1 KiB.
const maxBody = 1 << 20

// requestTimeout bounds one request, including the time to read the answer's body.
const requestTimeout = 10 * time.Second

// The problems that an answer of the token endpoint and of the API can share.
const (
	answerTooLong = "the answer is longer than 1 MiB"
	notAnObject   = "the answer is not a JSON object"
)

// answer is the answer of a server, read completely.
type answer struct {
	status    int
	header    http.Header
	body      []byte
	truncated bool // the body was cut at maxBody
}

// recorder reads and keeps the whole answer before it returns it, so that the
// Client judges status and body and not the error texts of a library.
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
	r.answer = &answer{status: resp.StatusCode, header: resp.Header.Clone(), body: body[:min(len(body), maxBody)], truncated: len(body) > maxBody}
	resp.Body = io.NopCloser(bytes.NewReader(r.answer.body))
	// golang.org/x/oauth2 parses text/plain as a form. Genesys Cloud always answers
	// with JSON, but a proxy may change the Content-Type.
	resp.Header.Set("Content-Type", "application/json")
	return resp, nil
}

// ok reports whether the status is 2xx.
func (a *answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// isTransient reports whether the same request may succeed later.
func (a *answer) isTransient() bool {
	return a.status == http.StatusRequestTimeout || a.status == http.StatusTooManyRequests || a.status >= 500
}

// object returns the JSON object in the body, or nil if the body is not one.
func (a *answer) object() map[string]any {
	var object map[string]any
	if json.Unmarshal(a.body, &object) != nil {
		return nil
	}
	return object
}

// secrets returns the secrets in the body. Error texts in the same body may repeat
// them.
func (a *answer) secrets() (token, password string) {
	object := a.object()
	token, _ = object["access_token"].(string)
	details, _ := object["connectionDetails"].(map[string]any)
	password, _ = details["saslPassword"].(string)
	return token, password
}

// texts returns the string fields of the JSON object in the body, or nil if the
// body is not an object.
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

// rejection describes the answer as a RejectedError without a cure. An error body is
// {message, code, contextId} from Genesys or {error, error_description} from OAuth.
func (a *answer) rejection(request string, redact redactor) *RejectedError {
	redact = redact.with(a.secrets())
	texts := a.texts()
	message := cmp.Or(texts["message"], texts["error_description"], texts["description"])
	if a.status >= 300 && a.status <= 399 {
		message = "the server redirects, but redirects are not followed"
	}
	return &RejectedError{
		Request:       request,
		Status:        a.status,
		Code:          redact.text(cmp.Or(texts["code"], texts["error"])),
		ContextID:     redact.text(texts["contextId"]),
		CorrelationID: redact.text(a.header.Get("ININ-Correlation-Id")),
		Message:       redact.text(message),
	}
}

// transient describes the answer as a TransientError.
func (a *answer) transient(request string, redact redactor) *TransientError {
	r := a.rejection(request, redact)
	return &TransientError{
		Request: r.Request, Status: r.Status, Code: r.Code, ContextID: r.ContextID, CorrelationID: r.CorrelationID, Message: r.Message,
		RetryAfter: a.retryAfter(),
	}
}

// maxRetryAfter bounds a wait. No caller waits that long.
const maxRetryAfter = 30 * 24 * time.Hour

// retryAfter returns the wait that the answer's Retry-After asks for, 0 if it asks for
// none.
func (a *answer) retryAfter() time.Duration {
	wait, _ := retryafter.Parse(a.header, time.Now())
	return min(wait, maxRetryAfter)
}
