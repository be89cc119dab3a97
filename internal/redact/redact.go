// Package redact removes secrets from texts that other programs wrote. A server, a proxy or
// a library may repeat a secret that it was sent, plain or encoded.
//
// The package does not decide what is a secret: the caller names each one.
package redact

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Marker replaces each secret.
const Marker = "[redacted]"

// Redactor removes secrets from texts. The zero value removes nothing. It is safe for
// concurrent use.
type Redactor struct {
	forms    []string
	replacer *strings.Replacer // nil without forms
}

// New returns a Redactor for the secrets. Empty secrets are ignored.
func New(secrets ...string) Redactor { return Redactor{}.With(secrets...) }

// With returns a Redactor that removes these secrets too, each of them in every form in
// which it may be repeated.
func (r Redactor) With(secrets ...string) Redactor {
	forms := slices.Clone(r.forms)
	for _, secret := range secrets {
		if secret != "" {
			forms = append(forms, formsOf(secret)...)
		}
	}
	// The longest form comes first. If a shorter one were replaced inside a longer one, the
	// rest of the longer one would stay readable.
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	forms = slices.Compact(forms)
	if len(forms) == 0 {
		return Redactor{}
	}
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, Marker)
	}
	return Redactor{forms, strings.NewReplacer(pairs...)}
}

// formsOf returns the secret as it is, and as JSON, Go, HTML, URLs and base64 write it.
func formsOf(secret string) []string {
	escaped := html.EscapeString(secret)
	return []string{
		secret,
		// net/http quotes a malformed answer as Go does.
		unquote(strconv.Quote(secret)), unquote(strconv.QuoteToASCII(secret)),
		inJSON(secret, true), inJSON(secret, false),
		// Go writes the two quotes as numbers, other languages write &quot; and &apos;.
		escaped, strings.NewReplacer("&#34;", "&quot;", "&#39;", "&apos;").Replace(escaped),
		strings.ReplaceAll(escaped, "&#39;", "&#x27;"),
		url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)),
		base64.URLEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// inJSON returns the secret as a JSON string without its quotes. Go escapes <, > and & unless
// it is told not to; most other languages never do.
func inJSON(secret string, escapeHTML bool) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(escapeHTML)
	if encoder.Encode(secret) != nil { // a string can always be encoded
		return secret
	}
	return unquote(strings.TrimSuffix(text.String(), "\n"))
}

func unquote(quoted string) string { return quoted[1 : len(quoted)-1] }

// String returns the text with Marker in the place of each secret. All secrets are replaced in one
// pass, because a secret of a few letters must not match inside a Marker.
func (r Redactor) String(text string) string {
	if r.replacer == nil {
		return text
	}
	return r.replacer.Replace(text)
}

// Finds reports whether the text contains a secret.
func (r Redactor) Finds(text string) bool {
	return slices.ContainsFunc(r.forms, func(form string) bool { return strings.Contains(text, form) })
}
