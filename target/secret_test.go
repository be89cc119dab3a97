package target

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const secretive = `targets:
  - name: a
    url: https://hushuser:hush-url@a.internal:8443/api?key=hush-query&hush-flag
    headers:
      Authorization: Bearer ${TOKEN}
      X-Literal: hush-literal
`

func TestRedactedURL_HidesCredentialsQueryAndFragment(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.internal/api":                    "https://a.internal/api",
		"https://a.internal:8443/api?x=1&y=2":       "https://a.internal:8443/api?x=REDACTED&y=REDACTED",
		"https://user:pass@a.internal/":             "https://REDACTED@a.internal/",
		"https://token@a.internal/?bare":            "https://REDACTED@a.internal/?REDACTED",
		"https://a.internal/?a=b=c&;d=e":            "https://a.internal/?a=REDACTED&;d=REDACTED",
		"https://user:pa ss@a.internal/":            "REDACTED",
		"https://a.internal/#not-even-the-fragment": "https://a.internal/",
	} {
		assert.Equal(t, want, Target{URL: url}.RedactedURL())
	}
}

func TestTarget_IsNeverPrintedWithASecret(t *testing.T) {
	set := parse(t, secretive, "TOKEN", "hush-token")
	target := set.All()[0]
	require.Equal(t, "Bearer hush-token", target.Headers["Authorization"])

	var printed bytes.Buffer
	show := func(value any) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
		level := &slog.HandlerOptions{Level: slog.LevelDebug}
		slog.New(slog.NewTextHandler(&printed, level)).Debug("m", "v", value)
		slog.New(slog.NewJSONHandler(&printed, level)).Debug("m", "v", value)
		data, err := json.Marshal(value)
		require.NoError(t, err)
		printed.Write(data)
	}
	show(target)
	show(*target)
	show(target.Headers)
	show(set)
	show(*set)
	show(set.All())
	show([]Target{*target})
	show(map[string]*Target{"a": target})
	show(struct{ Inner Target }{*target})
	show(target.Policy)

	assert.Contains(t, printed.String(), "https://REDACTED@a.internal:8443/api?key=REDACTED&REDACTED")
	assert.Contains(t, printed.String(), "[Authorization X-Literal]")
	assert.NotContains(t, printed.String(), "hush")
	assert.NotContains(t, printed.String(), fmt.Sprintf("%x", "hush"))
	assert.NotContains(t, printed.String(), fmt.Sprintf("%X", "hush"))
}

func TestRedact_RemovesTheSecretsThatATargetEchoes(t *testing.T) {
	target := parse(t, secretive, "TOKEN", "tok").All()[0]
	for text, want := range map[string]string{
		"401 Unauthorized":                                   "401 Unauthorized",
		"bad header Authorization: Bearer tok":               "bad header Authorization: [redacted]",
		"no such token tok":                                  "no such [redacted]en [redacted]",
		"X-Literal was hush-literal":                         "X-Literal was [redacted]",
		"password hush-url, key hush-query":                  "password [redacted], key [redacted]",
		"Authorization: Basic aHVzaHVzZXI6aHVzaC11cmw= sent": "Authorization: Basic [redacted] sent",
	} {
		assert.Equal(t, want, target.Redact(text))
	}
}

func TestRedact_RemovesTheLongerOfTwoSecretsWhole(t *testing.T) {
	target := parse(t, `
targets:
  - name: a
    url: http://a
    headers: {Authorization: Bearer abcdef, X-Longer: abcdefghi, X-Short: prod}
`).All()[0]
	assert.Equal(t, "[redacted] and [redacted] in prod", target.Redact("abcdef and abcdefghi in prod"))
}

func TestRedact_FindsASecretThatAnAnswerEscapes(t *testing.T) {
	const secret = `pa"ss\w<o>&rd`
	set := parse(t, `
targets:
  - name: a
    url: http://a
    headers: {Authorization: "Bearer ${TOKEN}"}
`, "TOKEN", secret)
	inJSON, err := json.Marshal(map[string]string{"token": secret})
	require.NoError(t, err)
	for echo, want := range map[string]string{
		string(inJSON):                                    `{"token":"[redacted]"}`,
		`{"token": "pa\"ss\\w<o>&rd"}`:                    `{"token": "[redacted]"}`, // JSON of another language than Go
		"<p>" + html.EscapeString(secret) + "</p>":        "<p>[redacted]</p>",
		fmt.Sprintf("malformed HTTP response %q", secret): `malformed HTTP response "[redacted]"`,
		"retry with ?token=" + url.QueryEscape(secret):    "retry with ?token=[redacted]",
	} {
		assert.Equal(t, want, set.All()[0].Redact(echo))
		assert.Equal(t, want, set.Redact(echo), "by the Redact of all targets")
	}
}
