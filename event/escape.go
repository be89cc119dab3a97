package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	escapedLimit = 160 // bytes
	escapedKept  = 127 // of a longer one; then "~" and 32 hex digits make 160
)

// alsoInFileNames are the bytes that EscapeFileName escapes beside those of Escape.
const alsoInFileNames = `/\:`

// Escape writes an identifier for headers, workflow IDs and search attributes:
// bytes outside 0x21–0x7E and % become %XX. A result over 160 bytes becomes its
// first 127, "~" and the first 32 hex digits of the SHA-256 of s.
func Escape(s string) string { return shorten(escapeBytes(s, "%"), s) }

// EscapeFileName is Escape for use in a file name: / \ : and a leading dot
// become %XX too.
func EscapeFileName(s string) string { return shorten(fileNameForm(s, "%"+alsoInFileNames), s) }

// Cut bounds a word of any length. It returns s itself if its escaped form has at
// most 160 bytes, and else what Escape returns.
func Cut(s string) string {
	if escaped := escapeBytes(s, "%"); len(escaped) > escapedLimit {
		return shorten(escaped, s)
	}
	return s
}

// EscapeCut returns what Escape returns for the word that Cut was given. A word of
// which Cut made nothing else counts as cut if it has the form of a cut one.
func EscapeCut(cut string) string {
	if isCut(cut) {
		return cut
	}
	return Escape(cut)
}

// EscapeCutFileName returns what EscapeFileName returns for the word that Cut was
// given, because the first 127 bytes of the one form follow from those of the
// other, and both end in the same hash. It has the exception of EscapeCut.
func EscapeCutFileName(cut string) string {
	if !isCut(cut) {
		return EscapeFileName(cut)
	}
	return fileNameForm(cut[:escapedKept], alsoInFileNames)[:escapedKept] + cut[escapedKept:]
}

// isCut is true for the form that Escape gives to a long word.
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
