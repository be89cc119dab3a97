package genesys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// maxQuoted bounds a text quoted from a server, in bytes: a line of a log.
const maxQuoted = 500

const redacted = "[redacted]"

// redactor removes secrets from texts that come from outside. A server may
// send back what it was sent, as it stood or encoded.
type redactor struct{ secrets []string }

// with adds secrets, empty ones aside, in the forms in which a server or proxy would repeat them.
func (r redactor) with(secrets ...string) redactor {
	all := append([]string(nil), r.secrets...)
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		inJSON, _ := json.Marshal(secret)
		inGo := strconv.Quote(secret) // as net/http quotes what it cannot read
		all = append(all, secret, string(inJSON[1:len(inJSON)-1]), inGo[1:len(inGo)-1],
			url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret),
			strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="))
	}
	// The longest first, so that no form is cut by a shorter one inside it.
	sort.Slice(all, func(i, j int) bool { return len(all[i]) > len(all[j]) })
	return redactor{secrets: all}
}

// withClient adds the client secret and the Basic credentials made of it.
func (r redactor) withClient(id, secret string) redactor {
	return r.with(secret, url.QueryEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
}

// clean gives a text without secrets, on one line, and no longer than maxQuoted.
func (r redactor) clean(text string) string {
	var pairs []string
	for _, secret := range r.secrets {
		pairs = append(pairs, secret, redacted)
	}
	// In one pass: a secret of a few letters must not match what stands for another.
	text = strings.NewReplacer(pairs...).Replace(text)
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(c rune) bool {
		return unicode.IsSpace(c) || !unicode.IsPrint(c)
	}), " ")
	if len(text) > maxQuoted {
		text = strings.ToValidUTF8(text[:maxQuoted], "") + "…"
	}
	return text
}

// cause gives an error that may be shown: itself, or only its cleaned text
// where it quotes a secret.
func (r redactor) cause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the address is in Request
	}
	for _, secret := range r.secrets {
		if strings.Contains(err.Error(), secret) {
			return errors.New(r.clean(err.Error()))
		}
	}
	return err
}
