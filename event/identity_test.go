package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEscape(t *testing.T) {
	long := strings.Repeat("a", 161)
	sum := sha256.Sum256([]byte(long))
	for in, want := range map[string]string{
		"":                       "",
		"evt-1":                  "evt-1",
		"a b":                    "a%20b",
		"100%":                   "100%25",
		"ü":                      "%C3%BC",
		"a\r\nX-Evil: 1\x00":     "a%0D%0AX-Evil:%201%00",
		"../../etc/passwd":       "../../etc/passwd",
		strings.Repeat("a", 160): strings.Repeat("a", 160),
		long:                     strings.Repeat("a", 127) + "~" + hex.EncodeToString(sum[:])[:32],
	} {
		assert.Equal(t, want, Escape(in))
	}
}

func TestEscapeFileName(t *testing.T) {
	for in, want := range map[string]string{
		"evt-1":            "evt-1",
		"../../etc/passwd": "%2E.%2F..%2Fetc%2Fpasswd",
		`c:\x`:             "c%3A%5Cx",
		".hidden":          "%2Ehidden",
		".":                "%2E",
		"a.b":              "a.b",
	} {
		assert.Equal(t, want, EscapeFileName(in))
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a", "b")
	f.Add("../x", "..%2Fx")
	f.Add(strings.Repeat("é", 4096), strings.Repeat("é", 4097))
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, escape := range []func(string) string{Escape, EscapeFileName} {
			got := escape(a)
			require.LessOrEqual(t, len(got), escapedLimit)
			for i := range len(got) {
				require.True(t, got[i] >= 0x21 && got[i] <= 0x7E, "%q", got)
			}
			require.Equal(t, a == b, got == escape(b), "different identifiers stay different")
		}
		require.False(t, strings.ContainsAny(EscapeFileName(a), `/\:`))
	})
}
