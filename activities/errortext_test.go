package activities

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/target"
)

// variables are the environment variables of a process.
type variables map[string]string

func (v variables) lookup(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

func TestErrorText_IsShortAndPrintableAndHasNoSecrets(t *testing.T) {
	set, err := target.Parse("targets.yaml", []byte(`
targets:
  - name: a
    url: http://a
    headers: {Authorization: "Bearer ${TOKEN}"}
`), variables{"TOKEN": "s3cr3t-token"}.lookup)
	require.NoError(t, err)
	one := set.All()[0]
	for text, want := range map[string]string{
		"":                    "",
		"no\r\nsuch\tthing":   "no\r\nsuch\tthing",
		"a\x00b\x1b[31mc\x7f": "a\uFFFDb\uFFFD[31mc\uFFFD",
		"a\xffb":              "a\uFFFDb",
		"token s3cr3t-token":  "token [redacted]",
		strings.Repeat("x", quoteLimit-4) + "s3cr3t-token": strings.Repeat("x", quoteLimit-4) + "[red",
		strings.Repeat("x", quoteLimit-1) + "ü":            strings.Repeat("x", quoteLimit-1),
		strings.Repeat("\x01", 5<<20):                      strings.Repeat("\uFFFD", quoteLimit/3),
	} {
		assert.Equal(t, want, errorText(one, text))
	}
}
