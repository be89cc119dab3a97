package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	escapedLimit = 160 // bytes
	escapedKept  = 127 // bytes kept of a longer string; with "~" and 32 hex digits they make 160
)

// alsoInFileNames lists the bytes that EscapeFileName escapes in addition to those of
// Escape.
const alsoInFileNames = `/\:`

// Escape returns an identifier in the form that headers, workflow IDs and search attributes
// use. Bytes outside 0x21–0x7E and % become %XX. If the result is longer than 160 bytes, it
// becomes its first 127 bytes, "~" and the first 32 hex digits of the SHA-256 of s.
func Escape(s string) string { return shorten(escapeBytes(s, "%"), s) }

// EscapeFileName returns what Escape returns, in a form for file names: / \ : and a leading
// dot become %XX too.
func EscapeFileName(s string) string { return shorten(fileNameForm(s, "%"+alsoInFileNames), s) }

// Cut bounds the length of a string of an event. It returns s itself if the escaped form of s has at most
// 160 bytes, and otherwise what Escape returns.
func Cut(s string) string {
	if escaped := escapeBytes(s, "%"); len(escaped) > escapedLimit {
		return shorten(escaped, s)
	}
	return s
}

// EscapeCut returns what Escape returns for the string that was given to Cut. There is one
// exception: a string that Cut left unchanged counts as cut if it has the form of a cut one.
func EscapeCut(cut string) string {
	if isCut(cut) {
		return cut
	}
	return Escape(cut)
}

// EscapeCutFileName returns what EscapeFileName returns for the string that was given to Cut,
// with the same exception as EscapeCut. That is possible because the first 127 bytes of the
// file name form follow from those of the cut form, and both end in the same hash.
func EscapeCutFileName(cut string) string {
	if !isCut(cut) {
		return EscapeFileName(cut)
	}
	return fileNameForm(cut[:escapedKept], alsoInFileNames)[:escapedKept] + cut[escapedKept:]
}

// isCut reports whether s has the form that Escape gives to a long string.
func isCut(s string) bool {
	if len(s) != escapedLimit || s[escapedKept] != '~' {
		return false
	}
	for i := range escapedKept {
		if !plain(s[i], "") {
			return false
		}
	}
	_, err := hex.DecodeString(s[escapedKept+1:])
	return err == nil
}

func fileNameForm(s, escaped string) string {
	if strings.HasPrefix(s, ".") {
		return "%2E" + escapeBytes(s[1:], escaped)
	}
	return escapeBytes(s, escaped)
}

func escapeBytes(s, also string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = plain(s[i], also)
	}
	if clean {
		return s
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; plain(c, also) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func plain(c byte, also string) bool {
	return c >= 0x21 && c <= 0x7E && strings.IndexByte(also, c) < 0
}

func shorten(escaped, original string) string {
	if len(escaped) <= escapedLimit {
		return escaped
	}
	sum := sha256.Sum256([]byte(original))
	return escaped[:escapedKept] + "~" + hex.EncodeToString(sum[:16])
}
