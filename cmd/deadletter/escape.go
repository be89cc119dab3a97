package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns a text that is safe to print on one line of a terminal: characters that
// move the cursor, change colours or turn the direction of writing are escaped.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// oneLine returns a printable text in which all white space is single blanks.
func oneLine(s string) string { return printable(strings.Join(strings.Fields(s), " ")) }

// shellWord quotes an argument for a POSIX shell. If the argument has characters that cannot
// be printed, its form needs bash, zsh or ksh.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.,:/@%+=", r))
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case printable(s) == s:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(s) {
		switch {
		case c == '\'' || c == '\\':
			b.Write([]byte{'\\', c})
		case c < 0x20 || c >= 0x7F:
			b.Write([]byte{'\\', 'x', hex[c>>4], hex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}

// safeJSON returns a JSON document that is safe to print. For a terminal, it escapes the
// characters that encoding/json does not escape and that a terminal obeys; the document
// stays equal. If the output is not a terminal, the document is unchanged.
func (c console) safeJSON(document []byte) []byte {
	if c.outWidth == 0 {
		return document
	}
	harmless := func(r rune) bool { return unicode.IsPrint(r) || r == '\n' }
	var b strings.Builder
	for _, r := range string(document) {
		if harmless(r) {
			b.WriteRune(r)
			continue
		}
		// A character above U+FFFF needs two escapes in JSON; a terminal obeys none of them.
		if r > 0xFFFF {
			b.WriteRune(r)
			continue
		}
		const hex = "0123456789abcdef"
		b.Write([]byte{'\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]})
	}
	return []byte(b.String())
}
