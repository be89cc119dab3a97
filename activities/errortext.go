package activities

import (
	"strings"
	"unicode"

	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// quoteLimit is how much an error quotes of a response or of the transport's error, in bytes.
const quoteLimit = 2 << 10

// errorText returns the beginning of a text that comes from a target or from the transport, for
// an error. The result has no secret of the target. It has no control characters except line
// breaks and tabs, because JSON writes each of the others with six bytes. The transport's error
// may be long: net/http quotes the whole of an answer that is not HTTP.
func errorText(t *target.Target, text string) string {
	// Redact before anything else, because a secret that is cut or changed would not be found.
	return fanout.Cut(strings.Map(replaceControl, t.Redact(text)), quoteLimit)
}

// replaceControl replaces control characters by the character with which strings.Map replaces
// invalid bytes.
func replaceControl(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
		return unicode.ReplacementChar
	}
	return r
}
