// Package target reads targets.yaml: which microservices want events, which
// events each of them wants, and under which policy a delivery to it is tried,
// held back and given up.
//
// The package refuses to send anything and to guess: a file with one wrong line
// is refused whole, with every wrong line named by path, line, column and cure.
// Secrets are resolved from the environment here and never printed.
package target

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// State says whether a target takes part.
type State string

// The states of a target.
const (
	Active  State = "active"  // chosen and served
	Paused  State = "paused"  // chosen, but its queue waits
	Retired State = "retired" // no longer chosen; events that wait for it become dead letters
)

// Target is one downstream microservice as targets.yaml describes it, with
// defaults filled in and secrets resolved. Only Policy ever enters Temporal.
//
// However a Target is printed, logged or marshalled, it shows its name, its
// RedactedURL and its state, and no secret.
type Target struct {
	Policy         Policy
	URL            string     // absolute http or https; may carry credentials: print it with RedactedURL
	RetryStatuses  []int      // the retryable answers; sorted
	MaxConcurrency int        // requests in flight per process, both lanes together
	RateLimit      float64    // requests per second over all workers; 0 means no limit
	State          State      //
	Headers        Headers    // resolved: may hold secrets
	when           *condition // nil: every event
	secrets        []string   // the values of the ${} in the headers
}

// Name is the target's unique name, [a-z0-9-]{1,40}.
func (t *Target) Name() string { return t.Policy.Target }

// RedactedURL is the URL without user, password and the values of its query.
func (t Target) RedactedURL() string {
	parsed, err := url.Parse(t.URL)
	if err != nil {
		return redacted // a URL that cannot be read cannot be redacted in parts
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

// redacted replaces a secret. It needs no escaping anywhere in a URL.
const redacted = "REDACTED"

func redactedQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		// A pair without "=" is as likely a bare token as a flag.
		if name, _, found := strings.Cut(pair, "="); found {
			pairs[i] = name + "=" + redacted
		} else if pair != "" {
			pairs[i] = redacted
		}
	}
	return strings.Join(pairs, "&")
}

// A header value or query value shorter than minValue is not taken for a secret,
// because Redact would remove ordinary words. The value of a ${} is a secret if it
// has at least minSecret bytes.
const (
	minValue  = 6
	minSecret = 3
)

// Redact takes the target's secrets out of a text that came from elsewhere,
// such as an answer that echoes the request's headers.
func (t Target) Redact(text string) string {
	var secrets []string
	add := func(secret string, atLeast int) {
		if len(secret) >= atLeast {
			secrets = append(secrets, secret)
			if written := strconv.Quote(secret); written != `"`+secret+`"` { // as net/http quotes bytes that it cannot read
				secrets = append(secrets, written[1:len(written)-1])
			}
		}
	}
	for _, secret := range t.secrets {
		add(secret, minSecret)
	}
	for _, value := range t.Headers {
		add(value, minValue)
		if _, credentials, found := strings.Cut(value, " "); found { // "Bearer abc"
			add(credentials, minValue)
		}
	}
	if parsed, err := url.Parse(t.URL); err == nil {
		if password, set := parsed.User.Password(); set {
			add(password, minSecret)
			add(base64.StdEncoding.EncodeToString([]byte(parsed.User.Username()+":"+password)), minSecret)
		}
		for _, values := range parsed.Query() {
			for _, value := range values {
				add(value, minValue)
				add(url.QueryEscape(value), minValue)
			}
		}
	}
	// The longest first, because a secret that begins another would leave its rest.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

// String names the target without its secrets.
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

// MarshalText is String: a Target is for this process only.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Headers are a target's own request headers, name to value. Printed, logged
// or marshalled they show their names alone.
type Headers map[string]string

// String lists the names.
func (h Headers) String() string {
	names := slices.Sorted(maps.Keys(h))
	return "[" + strings.Join(names, " ") + "]"
}

// Format prints String for every verb.
func (h Headers) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// LogValue logs the names.
func (h Headers) LogValue() slog.Value { return slog.StringValue(h.String()) }

// MarshalText is String.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.String()), nil }
