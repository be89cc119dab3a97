package genesys

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"unicode"

	"genesys-fanout/internal/redact"
)

// maxQuoted bounds a text that is quoted from a server, in bytes, so that it fits
// into a line of a log.
const maxQuoted = 500

// redactor makes texts that come from a server safe to show. It removes the secrets,
// because a server may repeat what it was sent, and it makes one short line of the text.
type redactor struct{ secrets redact.Redactor }

// with returns a redactor that removes more secrets. Empty secrets are ignored.
func (r redactor) with(secrets ...string) redactor { return redactor{r.secrets.With(secrets...)} }

// withClient adds the client secret and the Basic credentials that contain it.
func (r redactor) withClient(id, secret string) redactor {
	return r.with(secret, url.QueryEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
}

// text returns the text without secrets, on one line, cut to maxQuoted.
func (r redactor) text(text string) string {
	text = r.secrets.String(text)
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
	if r.secrets.Finds(err.Error()) {
		return errors.New(r.text(err.Error()))
	}
	return err
}
