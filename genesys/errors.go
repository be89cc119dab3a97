package genesys

import (
	"fmt"
	"strings"
	"time"
)

// RejectedError is an answer that waiting cannot change: the credentials are wrong, a
// permission is missing, the address is wrong, or the answer lacks a needed field.
type RejectedError struct {
	// Request is the method and path of the request, such as "POST /oauth/token".
	Request string
	// Status is the HTTP status of the answer.
	Status int
	// Code is the error code of Genesys or of OAuth; empty if the answer has none.
	Code string
	// ContextID (contextId in the body) and CorrelationID (header ININ-Correlation-Id)
	// identify the request to Genesys' support.
	ContextID, CorrelationID string
	// Message says what is wrong, on one line.
	Message string
	// Cure says what to do and names the setting.
	Cure string
}

// Error is one line with the request, the answer and the cure.
func (r *RejectedError) Error() string {
	return "genesys: " + describe(r.Request, r.Status, r.Code, r.Message, r.ContextID, r.CorrelationID) + "; " + r.Cure
}

// TransientError is a failure that a later try may not meet: a 408, 429 or 5xx, a
// time-out, or a connection that failed or broke.
type TransientError struct {
	// Request is the method and path of the request.
	Request string
	// Status is the HTTP status; 0 if no answer came.
	Status int
	// Code, ContextID, CorrelationID and Message are as in RejectedError.
	Code, ContextID, CorrelationID, Message string
	// RetryAfter is the wait that the server asks for; 0 if it asks for none.
	RetryAfter time.Duration
	// Cure says what to check if the failure points to a wrong setting: an unknown
	// host, a certificate, a proxy. Empty otherwise.
	Cure string
	// Err is the cause if no answer came; nil otherwise.
	Err error
}

// Error is one line with the request, the answer and, if there is one, the cure.
func (t *TransientError) Error() string {
	text := "genesys: " + describe(t.Request, t.Status, t.Code, t.Message, t.ContextID, t.CorrelationID)
	if t.Cure != "" {
		text += "; " + t.Cure
	}
	return text
}

// Unwrap returns the cause if no answer came.
func (t *TransientError) Unwrap() error { return t.Err }

func describe(request string, status int, code, message, contextID, correlationID string) string {
	var b strings.Builder
	b.WriteString(request)
	if status != 0 {
		fmt.Fprintf(&b, ": status %d", status)
	}
	if code != "" {
		fmt.Fprintf(&b, ", code %s", code)
	}
	if message != "" {
		fmt.Fprintf(&b, ": %s", message)
	}
	if contextID != "" {
		fmt.Fprintf(&b, " (contextId %s)", contextID)
	}
	if correlationID != "" {
		fmt.Fprintf(&b, " (correlation id %s)", correlationID)
	}
	return b.String()
}
