package target

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func parse(t *testing.T, text string, pairs ...string) *Set {
	t.Helper()
	set, err := Parse("targets.yaml", []byte(text), env(pairs...))
	require.NoError(t, err)
	return set
}

// parseOne parses a file of one target with the given further lines.
func parseOne(t *testing.T, lines string, pairs ...string) *Target {
	t.Helper()
	return parse(t, one(lines), pairs...).All()[0]
}

// one returns a file of one target whose line 4 is the first of lines.
func one(lines string) string {
	text := `targets:
  - name: a
    url: http://a.internal/
`
	for line := range strings.Lines(lines) {
		text += "    " + line
	}
	return text
}

// TestParse_RejectsMoreThanAHundredTargets checks that the problem is at the line of the
// first target that is too many.
func TestParse_RejectsMoreThanAHundredTargets(t *testing.T) {
	text := "targets:\n"
	for i := range 100 {
		text += fmt.Sprintf("  - {name: target-%d, url: http://a}\n", i)
	}
	assert.Len(t, parse(t, text).All(), 100)

	_, err := Parse("targets.yaml", []byte(text+"  - {name: one-more, url: http://a}\n"), env())
	require.ErrorContains(t, err, "targets.yaml:102:5: targets: lists 101 targets; list at most 100")
	assert.Len(t, problemsOf(t, err), 1)
}

func TestParse_HasTheDefaultsOfTheContract(t *testing.T) {
	got := parseOne(t, "")
	assert.Equal(t, Policy{
		Target:        "a",
		MaxAttempts:   3,
		Backoff:       Backoff{Initial: Duration(2 * time.Second), Multiplier: 2, Max: Duration(5 * time.Minute)},
		Timeout:       Duration(5 * time.Second),
		MaxRetryAfter: Duration(15 * time.Minute),
		MaxAge:        Duration(24 * time.Hour),
		FastLane:      true,
	}, got.Policy)
	assert.Equal(t, "http://a.internal/", got.URL)
	assert.Equal(t, []int{429}, got.RetryStatuses)
	assert.Equal(t, 64, got.MaxConcurrency)
	assert.Zero(t, got.RateLimit)
	assert.Equal(t, Active, got.State)
	assert.Empty(t, got.Headers)
	assert.Nil(t, got.when)
}

func TestParse_ReadsEveryKey(t *testing.T) {
	got := parseOne(t, `
max_attempts: 20
backoff: {initial: 500ms, multiplier: 1.5, max: 10m}
timeout: 1m30s
retry_statuses: [503, 429, 503]
max_retry_after: 1h
max_age: 72h
max_concurrency: 8
rate_limit: 90/m
state: paused
when: event.type == "x"
headers:
  Authorization: Bearer ${TOKEN}
  x-plain: "y"
`, "TOKEN", "s3cret")
	assert.Equal(t, Policy{
		Target:        "a",
		MaxAttempts:   20,
		Backoff:       Backoff{Initial: Duration(500 * time.Millisecond), Multiplier: 1.5, Max: Duration(10 * time.Minute)},
		Timeout:       Duration(90 * time.Second),
		MaxRetryAfter: Duration(time.Hour),
		MaxAge:        Duration(72 * time.Hour),
	}, got.Policy)
	assert.Equal(t, []int{429, 503}, got.RetryStatuses)
	assert.Equal(t, 8, got.MaxConcurrency)
	assert.InDelta(t, 1.5, got.RateLimit, 0)
	assert.Equal(t, Paused, got.State)
	assert.Equal(t, Headers{"Authorization": "Bearer s3cret", "x-plain": "y"}, got.Headers)
	assert.NotNil(t, got.when)
}

func TestParse_AcceptsLegalValues(t *testing.T) {
	for name, lines := range map[string]string{
		"an initial backoff above the default max": "backoff: {initial: 10m}",
		"max equal to initial":                     "backoff: {initial: 10m, max: 10m}",
		"multiplier one":                           "backoff: {multiplier: 1}",
		"nothing is retried":                       "retry_statuses: []",
		"bounds of a status":                       "retry_statuses: [100, 599]",
		"decimal rate":                             "rate_limit: 0.5/s",
		"condition that is always false":           "when: false",
		"condition in a block": `when: |
  event.id == "a" &&
  event.type == "b"`,
		"number in quotes as a header":    `headers: {X-Version: "2"}`,
		"no headers":                      "headers: {}",
		"dollar that begins no reference": `headers: {X-Price: "$5 {x}"}`,
	} {
		t.Run(name, func(t *testing.T) {
			got := parseOne(t, lines)
			assert.Equal(t, got.Policy, got.Policy.Normalized())
		})
	}
	assert.Equal(t, Duration(10*time.Minute), parseOne(t, "backoff: {initial: 10m}").Policy.Backoff.Max)
	assert.Equal(t, []int{}, parseOne(t, "retry_statuses: []").RetryStatuses)
}

func TestParse_DecidesWhetherATargetHasTheFastLane(t *testing.T) {
	assert.True(t, parseOne(t, "state: active").Policy.FastLane)
	assert.False(t, parseOne(t, "state: paused").Policy.FastLane)
	assert.False(t, parseOne(t, "rate_limit: 5/s").Policy.FastLane)
}

// TestParse_RejectsWrongValues checks each problem as it is printed, without the path.
func TestParse_RejectsWrongValues(t *testing.T) {
	for _, tc := range []struct{ lines, want string }{
		{"colour: red", "4:5: targets[0].colour: is not a known key"},
		{"\"a\\nb\": red", `4:5: targets[0]."a\nb": is not a known key`},
		{"signing_secret: ${X}", "4:5: targets[0].signing_secret: not supported by this version; remove it"},
		{`tls:
  ca: x`, "4:5: targets[0].tls: not supported by this version; remove it"},
		{"url: http://b", "4:5: targets[0].url: is given twice"},
		{"timeout:", "4:14: targets[0].timeout: has no value"},
		{"timeout: ~", "4:14: targets[0].timeout: has no value"},
		{"timeout: &t 5s", "4:14: targets[0].timeout: uses a YAML anchor"},
		{"timeout: *t", "4:14: targets[0].timeout: uses a YAML anchor"},
		{"timeout: !!str 5s", "4:14: targets[0].timeout: uses a YAML anchor"},
		{"<<: {timeout: 5s}", "4:5: targets[0].\"<<\": is a key of a kind"},
		{`? timeout
: 5s`, "4:5: targets[0].\"?\": is a key of a kind"},

		{"max_attempts: 0", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct 0"},
		{"max_attempts: -1", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct -1"},
		{"max_attempts: 2.5", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct the value"},
		{`max_attempts: "3"`, "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct the value"},
		{"max_attempts: three", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct the value"},
		{"max_attempts: 2147483648", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct 2147483648"},
		{"max_attempts: 18446744073709551615", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct 18446744073709551615"},
		{"max_attempts: 99999999999999999999999", "4:19: targets[0].max_attempts: must be a whole number from 1 to 2147483647; correct the value"},
		{"max_concurrency: 0", "4:22: targets[0].max_concurrency: must be a whole number from 1 to 65535; correct 0"},
		{"max_concurrency: 65536", "4:22: targets[0].max_concurrency: must be a whole number from 1 to 65535; correct 65536"},

		{"timeout: 5", "4:14: targets[0].timeout: has no unit; write a number with its unit"},
		{"timeout: 0", "4:14: targets[0].timeout: has no unit"},
		{"timeout: 1.5", "4:14: targets[0].timeout: has no unit"},
		{`timeout: "5"`, `4:14: targets[0].timeout: "5" has no unit`},
		{`timeout: "0"`, `4:14: targets[0].timeout: "0" has no unit`},
		{"timeout: 1d", `4:14: targets[0].timeout: "1d" is not a duration`},
		{"timeout: -5s", "4:14: targets[0].timeout: -5s is below zero"},
		{"timeout: 0s", "4:14: targets[0].timeout: 0s is zero"},
		{"timeout: [5s]", "4:14: targets[0].timeout: is not a text"},
		{"timeout: 9999999h", `4:14: targets[0].timeout: "9999999h" is not a duration`},
		{"max_age: -1ns", "4:14: targets[0].max_age: -1ns is below zero"},
		{"max_age: 0m", "4:14: targets[0].max_age: 0m is zero"},
		{"max_age: 87601h", "4:14: targets[0].max_age: 87601h is longer than ten years"},
		{"max_retry_after: soon", `4:22: targets[0].max_retry_after: "soon" is not a duration`},

		{"backoff: 2s", "4:14: targets[0].backoff: is not a mapping"},
		{`backoff:
  max: 1s`, "5:12: targets[0].backoff.max: 1s is less than the initial 2s"},
		{"backoff: {max: 5m, initial: 6m}", "4:20: targets[0].backoff.max: 5m0s is less than the initial 6m0s"},
		{"backoff: {factor: 2}", "4:15: targets[0].backoff.factor: is not a known key; remove it, or use one of initial, max, multiplier"},
		{"backoff: {multiplier: 0.5}", "4:27: targets[0].backoff.multiplier: must be a number from 1 to 1000; correct the value, and write it without quotes"},
		{"backoff: {multiplier: .nan}", "4:27: targets[0].backoff.multiplier: must be a number from 1 to 1000; correct the value, and write it without quotes"},
		{"backoff: {multiplier: .inf}", "4:27: targets[0].backoff.multiplier: must be a number from 1 to 1000; correct the value, and write it without quotes"},
		{"backoff: {multiplier: -2}", "4:27: targets[0].backoff.multiplier: must be a number from 1 to 1000; correct the value, and write it without quotes"},
		{"backoff: {multiplier: 1001}", "4:27: targets[0].backoff.multiplier: must be a number from 1 to 1000; correct the value, and write it without quotes"},
		{`backoff: {multiplier: "2"}`, "4:27: targets[0].backoff.multiplier: must be a number from 1 to 1000; correct the value, and write it without quotes"},
		{"backoff: {initial: 0s}", "4:24: targets[0].backoff.initial: 0s is zero"},

		{"retry_statuses: 429", "4:21: targets[0].retry_statuses: is not a list"},
		{"retry_statuses: [429, 600]", "4:27: targets[0].retry_statuses[1]: must be a whole number from 100 to 599; correct 600"},
		{"retry_statuses: [99]", "4:22: targets[0].retry_statuses[0]: must be a whole number from 100 to 599; correct 99"},
		{"retry_statuses: [5xx]", "4:22: targets[0].retry_statuses[0]: must be a whole number from 100 to 599; correct the value"},
		{`retry_statuses:
  -`, "5:9: targets[0].retry_statuses[0]: has no value"},

		{"rate_limit: 50", "4:17: targets[0].rate_limit: is not a text"},
		{"rate_limit: 50/h", `4:17: targets[0].rate_limit: "50/h" is not a rate; write it as 50/s`},
		{"rate_limit: -1/s", `4:17: targets[0].rate_limit: "-1/s" is not a rate`},
		{"rate_limit: 0/s", `4:17: targets[0].rate_limit: "0/s" is not above zero`},
		{"rate_limit: 100001/s", `4:17: targets[0].rate_limit: "100001/s" is not above zero and at most`},
		{"rate_limit: NaN/s", `4:17: targets[0].rate_limit: "NaN/s" is not a rate`},
		{"rate_limit: 1e3/s", `4:17: targets[0].rate_limit: "1e3/s" is not a rate`},

		{"state: Active", `4:12: targets[0].state: "Active" is not a state; use active, paused or retired`},
		{"state: true", "4:12: targets[0].state: is not a text; put the value in quotes"},

		{"when: event.typ == 'x'", "4:16: targets[0].when: undefined field 'typ'"},
		{"when: \"event.typ == 'x'\"", "4:17: targets[0].when: undefined field 'typ'"},
		{`when: |
  event.id == 'x' &&
    event.typ == 'x'`, "6:14: targets[0].when: undefined field 'typ'"},
		{`when: >
  event.id == 'x' &&
  event.typ == 'x'`, "4:11: targets[0].when: undefined field 'typ'"},
		{"when: evnt.type == 'x'", "4:11: targets[0].when: undeclared reference to 'evnt'"},
		{"when: event.type ==", "4:24: targets[0].when: Syntax error: mismatched input '<EOF>'; correct the CEL"},
		{"when: event.type", "4:11: targets[0].when: the expression is of type string, not bool"},
		{"when: payload.vip", "4:11: targets[0].when: the expression is of type dyn, not bool"},
		{"when: event.type == 1", "4:22: targets[0].when: found no matching overload"},
		{"when: event.type.matches('[')", "4:30: targets[0].when: invalid matches argument"},
		{`when: " "`, "4:11: targets[0].when: is empty"},
		{"when: 5", "4:11: targets[0].when: is not a text"},

		{"headers: [a]", "4:14: targets[0].headers: is not a mapping"},
		{"headers: {X-A: 2}", "4:20: targets[0].headers.X-A: is not a text; put the value in quotes"},
		{"headers: {X-A: }", "4:19: targets[0].headers.X-A: has no value"},
		{"headers: {'X A': b}", `4:15: targets[0].headers."X A": is not a legal header name`},
		{"headers: {'': b}", `4:15: targets[0].headers."": is not a legal header name`},
		{"headers: {X-A: b, x-a: c}", "4:23: targets[0].headers.x-a: is given twice"},
		{"headers: {X-GENESYS-Other: b}", "4:15: targets[0].headers.X-GENESYS-Other: is reserved"},
		{"headers: {x-delivery-attempt: b}", "4:15: targets[0].headers.x-delivery-attempt: is reserved"},
		{"headers: {idempotency-Key: b}", "4:15: targets[0].headers.idempotency-Key: is reserved"},
		{"headers: {Webhook-Id: b}", "4:15: targets[0].headers.Webhook-Id: is reserved"},
		{"headers: {x-kafka-offset: b}", "4:15: targets[0].headers.x-kafka-offset: is reserved"},
		{"headers: {X-Kafka-Cluster: b}", "4:15: targets[0].headers.X-Kafka-Cluster: is reserved"},
		{"headers: {Traceparent: b}", "4:15: targets[0].headers.Traceparent: is reserved"},
		{"headers: {tracestate: b}", "4:15: targets[0].headers.tracestate: is reserved"},
		{"headers: {Content-Type: b}", "4:15: targets[0].headers.Content-Type: is reserved"},
		{"headers: {content-length: '1'}", "4:15: targets[0].headers.content-length: is reserved"},
		{"headers: {Host: b}", "4:15: targets[0].headers.Host: is reserved"},
		{"headers: {Transfer-Encoding: b}", "4:15: targets[0].headers.Transfer-Encoding: is reserved"},
		{"headers: {Connection: b}", "4:15: targets[0].headers.Connection: is reserved"},
		{`headers: {X-A: "hush\r\nX-B: c"}`, "4:20: targets[0].headers.X-A: contains a character that is not allowed in a header"},
		{`headers: {X-A: "Bearer ${UNSET}"}`, "4:20: targets[0].headers.X-A: UNSET is not set; set UNSET, or set UNSET_FILE"},
		{`headers: {X-A: "${EMPTY}"}`, "4:20: targets[0].headers.X-A: EMPTY is not set"},
		{`headers: {X-A: "${BROKEN}"}`, "4:20: targets[0].headers.X-A: contains a character that is not allowed in a header"},
		{`headers: {X-A: "${}"}`, "4:20: targets[0].headers.X-A: contains a ${ that is not a reference"},
		{`headers: {X-A: "${A-B}"}`, "4:20: targets[0].headers.X-A: contains a ${ that is not a reference"},
		{`headers: {X-A: "${BROKEN"}`, "4:20: targets[0].headers.X-A: contains a ${ that is not a reference"},
	} {
		t.Run(tc.lines, func(t *testing.T) {
			_, err := Parse("targets.yaml", []byte(one(tc.lines)), env("EMPTY", "", "BROKEN", "hush\r\nX-B: c"))
			problems := problemsOf(t, err)
			require.Len(t, problems, 1, "%v", err)
			assert.Contains(t, err.Error(), "targets.yaml:"+tc.want)
			assert.NotContains(t, err.Error(), "hush")
			assert.NotContains(t, err.Error(), "\n")
			assert.NotEmpty(t, problems[0].Cure)
		})
	}
}

func TestParse_RejectsWrongFiles(t *testing.T) {
	const good = `targets:
  - name: a
    url: http://a
`
	for _, tc := range []struct{ file, want string }{
		{"", "1:1: targets: the file is empty"},
		{"# nothing\n", "1:1: targets: the file is empty"},
		{"---\n", "1:1: targets: "},
		{"targets:\n", "1:10: targets: has no value"},
		{"targets: []\n", "1:10: targets: lists no target"},
		{"targets: {}\n", "1:10: targets: is not a list"},
		{"targets: x\n", "1:10: targets: is not a list"},
		{`targets:
  - x
`, "2:5: targets[0]: is not a mapping"},
		{`targets:
  -
`, "2:5: targets[0]: has no value"},
		{"- name: a\n", "1:1: targets: is missing"},
		{"x\n", "1:1: targets: is missing"},
		{"{}\n", "1:1: targets: is missing"},
		{good + "defaults: {}\n", "4:1: defaults: is not a known key; remove it, or use one of targets"},
		{good + "---\n" + good, "5:1: YAML: a second document begins here"},
		{good + "\ttimeout: 5s\n", "4:1: YAML: "},
		{"targets: [\n", "1:10: YAML: "},
		{`targets:
  - name: "a
`, "2:11: YAML: "},
		{`targets:
  - url: http://a
`, "2:5: targets[0].name: is missing"},
		{`targets:
  - name: a
`, "2:5: targets[0].url: is missing"},
		{good + `  - name: a
    url: http://b
`, `4:11: targets[1].name: another target is named "a" already`},
		{`targets:
  - {name: A, url: http://a}
`, `2:12: targets[0].name: "A" is not a legal name; use 1 to 40`},
		{`targets:
  - {name: a_b, url: http://a}
`, `2:12: targets[0].name: "a_b" is not a legal name`},
		{`targets:
  - {name: 12, url: http://a}
`, `2:12: targets[0].name: is not a text; put the value in quotes`},
		{`targets:
  - {name: "", url: http://a}
`, `2:12: targets[0].name: "" is not a legal name`},
		{`targets:
  - {name: ` + strings.Repeat("a", 41) + `, url: http://a}
`, `2:12: targets[0].name: "aaa`},
	} {
		t.Run(tc.file, func(t *testing.T) {
			_, err := Parse("dir/targets.yaml", []byte(tc.file), env())
			require.NotEmpty(t, problemsOf(t, err))
			assert.Contains(t, err.Error(), "dir/targets.yaml:"+tc.want)
		})
	}
	parse(t, "\ufeff"+strings.ReplaceAll(good, "\n", "\r\n"))
	parse(t, "---\n"+good+"...\n")
}

func TestParse_RejectsWrongURLs(t *testing.T) {
	for url, want := range map[string]string{
		"analytics.internal/api":         "is neither http nor https",
		"ftp://a":                        "is neither http nor https",
		"/api":                           "is neither http nor https",
		"http://":                        "has no host",
		"http:a":                         "has no host",
		"http://:80/":                    "has no host",
		"http://a:port/":                 "is not a URL",
		"http://a:65536/":                "has a port out of range",
		"http://a:0/":                    "has a port out of range",
		"http://a/#top":                  "has a fragment",
		"http://a/#":                     "has a fragment",
		"http://a/%zz":                   "is not a URL",
		"http://user:hu sh@a/":           "is not a URL",
		"http://user:hush@a:port/":       "is not a URL",
		"http://user:hush@a/?k=hush#x":   "has a fragment",
		"http://${HOST}/":                "contains a ${}, which is replaced in headers only",
		"http://a/?key=${KEY}&more=hush": "contains a ${}, which is replaced in headers only",
	} {
		t.Run(url, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(`targets:
  - name: a
    url: "`+url+`"
`), env("HOST", "a", "KEY", "b"))
			require.Len(t, problemsOf(t, err), 1)
			assert.Contains(t, err.Error(), "t.yaml:3:10: targets[0].url: "+want)
			assert.NotContains(t, err.Error(), "hush")
			assert.NotContains(t, err.Error(), "hu sh")
		})
	}
}

func TestParse_ReportsAllProblemsInOrder(t *testing.T) {
	_, err := Parse("targets.yaml", []byte(`targets:
  - timeout: 5
    headers:
      X-A: ${ONE} ${TWO}
    backoff: {max: 1s, initial: 0s}
  - name: b
    url: nowhere
    retry_statuses: [1, 2]
other: 1
`), env())
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.Join(strings.SplitN(line, ":", 5)[1:4], ":"))
	}
	assert.Equal(t, []string{
		"2:5: targets[0].name",
		"2:5: targets[0].url",
		"2:14: targets[0].timeout",
		"4:12: targets[0].headers.X-A",
		"4:12: targets[0].headers.X-A",
		"5:20: targets[0].backoff.max",
		"5:33: targets[0].backoff.initial",
		"7:10: targets[1].url",
		"8:22: targets[1].retry_statuses[0]",
		"8:25: targets[1].retry_statuses[1]",
		"9:1: other",
	}, got)
}

func TestLoad_NamesTheSettingOfAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.yaml")
	_, err := Load(path, env())
	require.NotEmpty(t, problemsOf(t, err))
	assert.EqualError(t, err, path+": cannot be read: no such file or directory; set FANOUT_TARGETS to the path of your targets file")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	_, err = Load(filepath.Dir(path), env())
	assert.ErrorContains(t, err, "FANOUT_TARGETS")
}

func TestParse_ReadsASecretFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	const text = `headers: {Authorization: "Bearer ${TOKEN}"}`
	for content, want := range map[string]string{
		"abc":     "Bearer abc",
		"abc\n":   "Bearer abc",
		"abc\r\n": "Bearer abc",
	} {
		write(content)
		assert.Equal(t, want, parseOne(t, text, "TOKEN_FILE", file).Headers["Authorization"])
		assert.Equal(t, want, parseOne(t, text, "TOKEN_FILE", file, "TOKEN", "").Headers["Authorization"])
	}

	rejected := func(want string, others ...string) {
		t.Helper()
		_, err := Parse("t.yaml", []byte(one(text)), env(append(others, "TOKEN_FILE", file)...))
		assert.ErrorContains(t, err, "t.yaml:4:30: targets[0].headers.Authorization: "+want)
		assert.NotContains(t, err.Error(), "hush")
	}
	rejected("TOKEN is set, and so is TOKEN_FILE; set one of the two", "TOKEN", "hush-direct")
	write("hush\n\n")
	rejected("contains a character")
	write("\n")
	rejected("TOKEN_FILE names ")
	require.NoError(t, os.Remove(file))
	rejected("TOKEN_FILE names ")
}

func TestParse_AcceptsTheShippedFiles(t *testing.T) {
	plain, err := Load("../targets.yaml", env())
	require.NoError(t, err)
	assert.Equal(t, "analytics-service, notification-service, compliance-service", plain.String())
	first, _ := plain.Get("analytics-service")
	assert.Equal(t, "https://analytics.internal/api/events", first.URL)

	set, err := Load("../targets.example.yaml", env("NOTIFICATION_TOKEN", "s3cret"))
	require.NoError(t, err)
	for _, target := range set.All() {
		assert.Equal(t, Active, target.State)
	}
	away, _ := set.Get("notification-service")
	assert.Equal(t, 20, away.Policy.MaxAttempts)
	var wait time.Duration
	for n := range away.Policy.MaxAttempts - 1 {
		wait += away.Policy.Backoff.After(n + 1)
	}
	assert.Greater(t, wait, time.Hour)

	// The first target of the example writes every default out.
	spelled := set.All()[0]
	assert.Equal(t, first.Policy, spelled.Policy)
	assert.Equal(t, first.RetryStatuses, spelled.RetryStatuses)
	assert.Equal(t, first.MaxConcurrency, spelled.MaxConcurrency)
}

// TestExampleFile_NamesEveryKey checks that the example shows every known key. The reader itself
// lists these keys in the cure of an unknown key.
func TestExampleFile_NamesEveryKey(t *testing.T) {
	data, err := os.ReadFile("../targets.example.yaml")
	require.NoError(t, err)
	var file struct{ Targets []map[string]any }
	require.NoError(t, yaml.Unmarshal(data, &file))
	shown := make(map[string]bool)
	for _, target := range file.Targets {
		for key := range target {
			shown[key] = true
		}
	}

	_, err = Parse("t.yaml", []byte(one("nonsense: 1")), env())
	_, known, found := strings.Cut(problemsOf(t, err)[0].Cure, "one of ")
	require.True(t, found)
	keys := strings.Split(known, ", ")
	assert.Len(t, keys, 13)
	for _, key := range keys {
		assert.True(t, shown[key], "targets.example.yaml does not show %s", key)
	}
	assert.NotContains(t, string(data), "signing_secret")
	assert.NotContains(t, string(data), "tls")
}

func problemsOf(t *testing.T, err error) Problems {
	t.Helper()
	var problems Problems
	require.ErrorAs(t, err, &problems, "%v", err)
	return problems
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"../targets.yaml", "../targets.example.yaml"} {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, lines := range []string{"backoff: {initial: 10m}", "when: event.x", "headers: {A: \"${X}\"}", "timeout: &a *a", "a: [", "? x", "<<: *a", "\"\\x00\": |+2\n"} {
		f.Add([]byte(one(lines)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse("t.yaml", data, env("X", "y"))
		if err == nil {
			for _, target := range set.All() {
				checkLegal(t, target)
			}
			return
		}
		for _, p := range problemsOf(t, err) {
			if p.Line < 1 || p.Column < 1 || p.What == "" || p.Cure == "" || strings.ContainsAny(p.Error(), "\n\r") {
				t.Errorf("%#v", p)
			}
		}
	})
}

// checkLegal checks the properties of a target on which Temporal and the deliveries rely.
func checkLegal(t *testing.T, target *Target) {
	t.Helper()
	p := target.Policy
	assert.Equal(t, p, p.Normalized())
	assert.True(t, event.ValidTargetName(p.Target), p.Target)
	assert.GreaterOrEqual(t, p.Backoff.Max, p.Backoff.Initial)
	assert.Positive(t, p.Backoff.Initial)
	assert.GreaterOrEqual(t, p.Backoff.Multiplier, 1.0)
	assert.Positive(t, p.MaxAttempts)
	assert.Positive(t, target.MaxConcurrency)
	assert.False(t, math.IsNaN(target.RateLimit) || target.RateLimit < 0)
	assert.Equal(t, target.State == Active && target.RateLimit == 0, p.FastLane)
}
