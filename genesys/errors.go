package genesys

import (
	"fmt"
	"strings"
	"time"
)

// Refusal is an answer that no waiting cures: wrong credentials, a missing
// permission, a wrong address, an answer without the needed fields.
type Refusal struct {
	// Request is what was asked, method and path: "POST /oauth/token".
	Request string
	// Status is the HTTP status of the answer.
	Status int
	// Code is Genesys' error code or the OAuth error, empty where there is none.
	Code string
	// ContextID (contextId of the body) and CorrelationID (header
	// ININ-Correlation-Id) are what Genesys' support asks for.
	ContextID, CorrelationID string
	// Message says what is wrong, on one line.
	Message string
	// Cure says what to do and names the setting.
	Cure string
}

// Error is one line: what was asked, what came back, what to do.
func (r *Refusal) Error() string {
	return "genesys: " + describe(r.Request, r.Status, r.Code, r.Message, r.ContextID, r.CorrelationID) + "; " + r.Cure
}

// Temporary is a failure that may pass: 408, 429, 5xx, a time-out, a
// connection that did not come about or broke.
type Temporary struct {
	// Request is what was asked, method and path.
	Request string
	// Status is the HTTP status, 0 where no answer came.
	Status int
	// Code, ContextID, CorrelationID and Message are as in Refusal.
	Code, ContextID, CorrelationID, Message string
	// RetryAfter is how long the server asks to wait, 0 where it does not.
	RetryAfter time.Duration
	// Cure says what to check, where the failure hints at a wrong setting:
	// an unknown host, a certificate, a proxy. Empty otherwise.
	Cure string
	// Err is the cause where no answer came, nil otherwise.
	Err error
}

// Error is one line: what was asked, what came back and, where there is one,
// the cure.
func (t *Temporary) Error() string {
	text := "genesys: " + describe(t.Request, t.Status, t.Code, t.Message, t.ContextID, t.CorrelationID)
	if t.Cure != "" {
		text += "; " + t.Cure
	}
	return text
}

// Unwrap gives the cause where no answer came.
func (t *Temporary) Unwrap() error { return t.Err }

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
