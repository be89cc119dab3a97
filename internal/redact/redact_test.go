package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/internal/redact"
)

// awkward has a character for each way of writing a text that changes some.
const awkward = `p"a's\s<w>&é=/ +%`

func TestRemovesASecretInEveryFormInWhichAServerRepeatsIt(t *testing.T) {
	inJSON, err := json.Marshal(awkward)
	require.NoError(t, err)
	for name, echo := range map[string]string{
		"plain":                      awkward,
		"JSON by Go":                 string(inJSON),
		"JSON without HTML escaping": `"p\"a's\\s<w>&é=/ +%"`,
		"Go":                         fmt.Sprintf("%q", awkward),
		"Go in ASCII":                fmt.Sprintf("%+q", awkward),
		"HTML by Go":                 html.EscapeString(awkward),
		"HTML by name":               `p&quot;a&apos;s\s&lt;w&gt;&amp;é=/ +%`,
		"HTML by a template of JS":   `p&#34;a&#x27;s\s&lt;w&gt;&amp;é=/ +%`,
		"query":                      url.QueryEscape(awkward),
		"path":                       url.PathEscape(awkward),
		"base64":                     base64.StdEncoding.EncodeToString([]byte(awkward)),
		"base64 of URLs":             base64.URLEncoding.EncodeToString([]byte(awkward)),
	} {
		t.Run(name, func(t *testing.T) {
			got := redact.New(awkward).String("before " + echo + " after")
			assert.Regexp(t, `^before ["']?\[redacted\]["']? after$`, got)
		})
	}
}

func TestTheLongerOfTwoSecretsIsRemovedWhole(t *testing.T) {
	assert.Equal(t, "[redacted] and [redacted]", redact.New("abc", "abcdef").String("abcdef and abc"))
}

func TestAShortSecretDoesNotMatchInsideAMarker(t *testing.T) {
	assert.Equal(t, "[redacted] [redacted]", redact.New("secret", "e").String("secret e"))
}

func TestWithoutSecretsATextStaysAsItIs(t *testing.T) {
	assert.Equal(t, "text", redact.Redactor{}.String("text"))
	assert.Equal(t, "text", redact.New("").String("text"))
	assert.False(t, redact.New("").Finds("text"))
}

func TestWithLeavesTheFirstRedactorAsItWas(t *testing.T) {
	first := redact.New("one")
	second := first.With("two")
	assert.Equal(t, "[redacted] two", first.String("one two"))
	assert.Equal(t, "[redacted] [redacted]", second.String("one two"))
}
