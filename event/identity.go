package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// The name spaces of the identities that this project gives, each a random UUID
// fixed for ever: a changed one would make old events new.
var (
	contentSpace  = uuid.MustParse("5b0f6f2c-6c1e-4e0b-9d0e-0c5b1f7a4e21")
	positionSpace = uuid.MustParse("c1d7a3de-9f0e-4a55-8f64-3b2a9d1e7c08")
)

// contentID identifies an event without an id by its bytes.
func contentID(document []byte) string { return uuid.NewSHA1(contentSpace, document).String() }

// UndecodableID identifies a message that is not JSON by where it stands.
func UndecodableID(s Source) string {
	position := s.Topic + "/" + strconv.Itoa(int(s.Partition)) + "/" + strconv.FormatInt(s.Offset, 10)
	return uuid.NewSHA1(positionSpace, []byte(position)).String()
}

const (
	escapedLimit = 160 // bytes
	escapedKept  = 127 // of a longer one; then "~" and 32 hex digits make 160
)

// Escape writes an identifier for headers, workflow IDs and search attributes:
// bytes outside 0x21–0x7E and % become %XX. A result over 160 bytes becomes its
// first 127, "~" and the first 32 hex digits of the SHA-256 of s.
func Escape(s string) string { return escape(s, "%") }

// EscapeFileName is Escape for use in a file name: / \ : and a leading dot
// become %XX too.
func EscapeFileName(s string) string {
	if strings.HasPrefix(s, ".") {
		return shorten("%2E"+escapeBytes(s[1:], `%/\:`), s)
	}
	return escape(s, `%/\:`)
}

func escape(s, also string) string { return shorten(escapeBytes(s, also), s) }

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
