package genesys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxQuoted bounds a text that is quoted from a server, in bytes, so that it fits
// into a line of a log.
const maxQuoted = 500

const redacted = "[redacted]"

// redactor removes secrets from texts that come from a server, because a server may
// repeat what it was sent, plain or encoded.
type redactor struct{ secrets []string }

// with returns a redactor that removes more secrets, in each form in which a server
// or a proxy may repeat them. Empty secrets are ignored.
func (r redactor) with(secrets ...string) redactor {
	all := slices.Clone(r.secrets)
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		inJSON, _ := json.Marshal(secret)
		inGo := strconv.Quote(secret) // net/http quotes a malformed answer so
		all = append(all, secret, string(inJSON[1:len(inJSON)-1]), inGo[1:len(inGo)-1],
			url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret),
			strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="))
	}
	// The longest first, because replacing a shorter form inside a longer one would
	// leave parts of the longer one.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return redactor{secrets: all}
}

// withClient adds the client secret and the Basic credentials that contain it.
func (r redactor) withClient(id, secret string) redactor {
	return r.with(secret, url.QueryEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
}

// text returns the text without secrets, on one line, cut to maxQuoted.
func (r redactor) text(text string) string {
	var pairs []string
	for _, secret := range r.secrets {
		pairs = append(pairs, secret, redacted)
	}
	// All in one pass, because a secret of a few letters must not match inside the
	// word that replaced another secret.
	text = strings.NewReplacer(pairs...).Replace(text)
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(c rune) bool {
		return unicode.IsSpace(c) || !unicode.IsPrint(c)
	}), " ")
	if len(text) > maxQuoted {
		text = strings.ToValidUTF8(text[:maxQuoted], "") + "…"
	}
	return text
}

// err returns an error that is safe to show: the error itself, or only its redacted
// text if it quotes a secret.
func (r redactor) err(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // TransientError.Request names the address already
	}
	for _, secret := range r.secrets {
		if strings.Contains(err.Error(), secret) {
			return errors.New(r.text(err.Error()))
		}
	}
	return err
}
