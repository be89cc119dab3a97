package activities

import (
	"strings"
	"unicode"

	"genesys-fanout/target"
)

// quotedAnswer is how much an error quotes of what a target or the transport
// said, in bytes.
const quotedAnswer = 2 << 10

// errorText returns the beginning of what a target or the transport said, for an
// error. It holds no secret of the target, and no control character but line
// breaks and tabs, because JSON writes the others six times as long. The
// transport may say much: net/http quotes all of an answer that is no HTTP.
func errorText(t *target.Target, said string) string {
	// Secrets first, because one that is cut or changed would not be found.
	said = strings.Map(printable, t.Redact(said))
	if len(said) <= quotedAnswer {
		return said
	}
	return strings.ToValidUTF8(said[:quotedAnswer], "")
}

// printable replaces control characters, as strings.Map replaces invalid bytes.
func printable(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
		return unicode.ReplacementChar
	}
	return r
}
