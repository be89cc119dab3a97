// Package target reads targets.yaml. The file says which microservices want events, which
// events each of them wants, and by which policy a delivery is tried, held back and given up.
//
// The package sends nothing, and it does not guess. If one line of the file is wrong, it
// rejects the whole file and names every wrong line with path, line, column and cure. It
// resolves secrets from the environment and never prints them.
//
// The files, from the file's bytes to the choice for an event:
//
//	load.go        Load and Parse: from YAML to a Set
//	reader.go      walk the YAML, and report each problem with its position
//	schema.go      the keys of targets.yaml, and the check of each value
//	headers.go     the headers of a target, and the secrets that ${NAME} inserts into them
//	policy.go      Policy: the part of a target that a run carries; the defaults and bounds
//	problem.go     what is wrong with a file
//	warnings.go    settings that are legal and may surprise
//	target.go      Target: one target, and how it is printed without secrets
//	set.go         Set: all targets of a file; Choose selects those that want an event
//	condition.go   when: the CEL expression that says which events a target wants
//	eventtypes.go  the event types that a when asks for
//	eventid.go     FANOUT_EVENT_ID: the CEL expression that identifies an event
package target

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"genesys-fanout/internal/redact"
)

// State says whether a target gets events.
type State string

// The states of a target.
const (
	Active  State = "active"  // chosen for events, and its queue is polled
	Paused  State = "paused"  // chosen for events, but its queue is not polled
	Retired State = "retired" // no longer chosen; events that wait for it become dead letters
)

// Target is one downstream microservice as targets.yaml describes it, with defaults filled in
// and secrets resolved. Only its Policy is ever sent to Temporal.
//
// However a Target is printed, logged or marshalled, it shows its name, its RedactedURL and
// its state, and no secret.
type Target struct {
	Policy         Policy
	URL            string     // absolute http or https; may contain credentials, so print it with RedactedURL
	RetryStatuses  []int      // the retryable HTTP statuses, sorted
	MaxConcurrency int        // the most requests in flight per process, both lanes together
	RateLimit      float64    // requests per second over all workers; 0 means no limit
	State          State      //
	Headers        Headers    // with the ${} replaced, so they may contain secrets
	when           *condition // nil if the target wants every event
	secrets        []string   // the values of the ${} in the headers
	redactor       redact.Redactor
}

// Name returns the target's unique name, [a-z0-9-]{1,40}.
func (t *Target) Name() string { return t.Policy.Target }

// RedactedURL returns the URL without user and password, without the values of its query, and
// without its fragment.
func (t Target) RedactedURL() string {
	parsed, err := url.Parse(t.URL)
	if err != nil {
		return redacted // only a URL that can be parsed can be redacted in parts
	}
	if parsed.User != nil {
		parsed.User = url.User(redacted)
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery = redactedQuery(parsed.RawQuery)
	}
	parsed.Fragment, parsed.RawFragment = "", ""
	return parsed.String()
}

// redacted replaces a secret inside a URL. Unlike redact.Marker it needs no escaping there.
const redacted = "REDACTED"

func redactedQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		// A pair without "=" is replaced whole, because it may be a bare token.
		if name, _, found := strings.Cut(pair, "="); found {
			pairs[i] = name + "=" + redacted
		} else if pair != "" {
			pairs[i] = redacted
		}
	}
	return strings.Join(pairs, "&")
}

// The shortest texts that Redact treats as secrets, in bytes. A header value or query value
// shorter than minValue is not a secret, because Redact would otherwise remove ordinary words.
// minSecret applies to the value of a ${} and to the password of the URL.
const (
	minValue  = 6
	minSecret = 3
)

// Redact replaces the target's secrets in a text that came from elsewhere, such as an answer
// that echoes the request's headers. It finds them in each form that package redact lists.
func (t Target) Redact(text string) string { return t.redactor.String(text) }

// allSecrets returns everything in the target that Redact must replace.
func (t *Target) allSecrets() []string {
	var secrets []string
	add := func(atLeast int, secret string) {
		if len(secret) >= atLeast {
			secrets = append(secrets, secret)
		}
	}
	for _, secret := range t.secrets {
		add(minSecret, secret)
	}
	for _, value := range t.Headers {
		add(minValue, value)
		_, credentials, _ := strings.Cut(value, " ") // "Bearer abc"
		add(minValue, credentials)
	}
	parsed, err := url.Parse(t.URL)
	if err != nil {
		return secrets // Parse has rejected the file
	}
	if password, set := parsed.User.Password(); set {
		add(minSecret, password)
		add(minSecret, parsed.User.Username()+":"+password) // net/http sends it in base64
	}
	for _, values := range parsed.Query() {
		for _, value := range values {
			add(minValue, value)
		}
	}
	return secrets
}

// String returns the target's name, URL and state without its secrets.
func (t Target) String() string {
	return fmt.Sprintf("%s (%s, %s)", t.Policy.Target, t.RedactedURL(), t.State)
}

// Format prints String for every verb, so that no verb reaches the secrets.
func (t Target) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue logs the target without its secrets.
func (t Target) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", t.Policy.Target),
		slog.String("url", t.RedactedURL()),
		slog.String("state", string(t.State)),
	)
}

// MarshalText returns String, because a Target must not leave this process.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Headers maps the names of a target's own request headers to their values. However they are
// printed, logged or marshalled, they show only their names.
type Headers map[string]string

// String lists the names of the headers.
func (h Headers) String() string {
	names := slices.Sorted(maps.Keys(h))
	return "[" + strings.Join(names, " ") + "]"
}

// Format prints String for every verb.
func (h Headers) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// LogValue logs the names of the headers.
func (h Headers) LogValue() slog.Value { return slog.StringValue(h.String()) }

// MarshalText returns String, so that no value is marshalled.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.String()), nil }
