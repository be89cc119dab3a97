package target

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"genesys-fanout/event"
	"genesys-fanout/internal/redact"
)

// mostTargets is the largest number of targets that a file may list. A run writes something
// for each of its targets, and all of it together must stay below Temporal's limits for one
// run. The arithmetic is in fanout/limits.go.
const mostTargets = 100

func (r *reader) root(node ast.Node) []*Target {
	const cure = "list at least one target under targets:"
	if _, ok := node.(*ast.MappingNode); !ok {
		r.add(node, "targets", "is missing", cure)
		return nil
	}
	var targets []*Target
	names := make(map[string]bool)
	given := r.mapping(node, "", map[string]handler{
		"targets": func(value ast.Node, field string) {
			r.sequence(value, field, func(item ast.Node, at string) {
				targets = append(targets, r.target(item, at, names))
			})
			switch list, _ := value.(*ast.SequenceNode); {
			case list == nil: // sequence has reported this already
			case len(list.Values) == 0:
				r.add(value, field, "lists no target", cure)
			case len(list.Values) > mostTargets:
				r.add(list.Values[mostTargets], field, fmt.Sprintf("lists %d targets", len(list.Values)),
					fmt.Sprintf("list at most %d; the others need a worker and an ingest of their own, with another TEMPORAL_NAMESPACE and KAFKA_GROUP_ID", mostTargets))
			}
		},
	})
	if !has(given, "targets") {
		r.add(node, "targets", "is missing", cure)
	}
	return targets
}

// target reads one item of the list. names contains the names of the items before it.
func (r *reader) target(node ast.Node, field string, names map[string]bool) *Target {
	t := &Target{
		Policy:         defaultPolicy(),
		RetryStatuses:  []int{defaultRetryStatus},
		MaxConcurrency: defaultMaxConcurrency,
		State:          Active,
	}
	p := &t.Policy
	given := r.mapping(node, field, map[string]handler{
		"name":            func(v ast.Node, f string) { p.Target = r.name(v, f, names) },
		"url":             func(v ast.Node, f string) { t.URL = r.url(v, f) },
		"max_attempts":    func(v ast.Node, f string) { r.whole(v, f, 1, maxAttempts, &p.MaxAttempts) },
		"backoff":         func(v ast.Node, f string) { r.backoff(v, f, &p.Backoff) },
		"timeout":         func(v ast.Node, f string) { r.duration(v, f, &p.Timeout) },
		"retry_statuses":  func(v ast.Node, f string) { t.RetryStatuses = r.statuses(v, f) },
		"max_retry_after": func(v ast.Node, f string) { r.duration(v, f, &p.MaxRetryAfter) },
		"max_age":         func(v ast.Node, f string) { r.duration(v, f, &p.MaxAge) },
		"max_concurrency": func(v ast.Node, f string) { r.whole(v, f, 1, maxConcurrency, &t.MaxConcurrency) },
		"rate_limit":      func(v ast.Node, f string) { t.RateLimit = r.rate(v, f) },
		"state":           func(v ast.Node, f string) { t.State = r.state(v, f) },
		"when":            func(v ast.Node, f string) { t.when = r.when(v, f) },
		"headers":         func(v ast.Node, f string) { r.headers(v, f, t) },
		"signing_secret":  nil,
		"tls":             nil,
	})
	if _, isMapping := node.(*ast.MappingNode); isMapping {
		for _, required := range []string{"name", "url"} {
			if !has(given, required) {
				r.add(node, join(field, required), "is missing", "give every target a name and a url")
			}
		}
	}
	// The target's own queue enforces its rate limit, and a paused target's queue is not
	// polled. An attempt in the fast lane would bypass both.
	p.FastLane = t.State == Active && t.RateLimit == 0
	r.surprises(t, field, node, given)
	t.redactor = redact.New(t.allSecrets()...)
	return t
}

// maxConcurrency is the upper bound of max_concurrency. One process has fewer ports than that
// on one address.
const maxConcurrency = 65_535

func (r *reader) name(node ast.Node, field string, names map[string]bool) string {
	name, ok := r.text(node, field)
	if !ok {
		return ""
	}
	if !event.ValidTargetName(name) {
		r.add(node, field, fmt.Sprintf("%q is not a legal name", name), "use 1 to 40 of a-z, 0-9 and -")
		return name
	}
	if names[name] {
		r.add(node, field, fmt.Sprintf("another target is named %q already", name), "give each target its own name")
	}
	names[name] = true
	return name
}

// url reads a URL. Its problems do not quote the URL, because it may contain a password.
func (r *reader) url(node ast.Node, field string) string {
	text, ok := r.text(node, field)
	if !ok {
		return ""
	}
	const cure = "write an absolute URL such as https://analytics.internal/api/events"
	parsed, err := url.Parse(text)
	switch {
	case strings.Contains(text, "${"):
		r.add(node, field, "contains a ${}, which is replaced in headers only", "write the URL out, and put the secret into a header")
	case err != nil:
		r.add(node, field, "is not a URL", cure)
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		r.add(node, field, "is neither http nor https", cure)
	case parsed.Hostname() == "":
		r.add(node, field, "has no host", cure)
	case !legalPort(parsed.Port()):
		r.add(node, field, "has a port out of range", "use a port from 1 to 65535")
	case strings.Contains(text, "#"):
		r.add(node, field, "has a fragment, which is never sent", "remove the # and what follows it")
	}
	return text
}

func legalPort(port string) bool {
	if port == "" {
		return true
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

func (r *reader) backoff(node ast.Node, field string, b *Backoff) {
	var maxNode ast.Node
	given := r.mapping(node, field, map[string]handler{
		"initial":    func(v ast.Node, f string) { r.duration(v, f, &b.Initial) },
		"multiplier": func(v ast.Node, f string) { r.multiplier(v, f, &b.Multiplier) },
		"max": func(v ast.Node, f string) {
			if r.duration(v, f, &b.Max) {
				maxNode = v
			}
		},
	})
	switch {
	case !has(given, "max"):
		b.Max = max(b.Max, b.Initial)
	case maxNode != nil && b.Max < b.Initial:
		r.add(maxNode, join(field, "max"), fmt.Sprintf("%s is less than the initial %s", b.Max, b.Initial), "make max at least as long as initial")
	}
}

func (r *reader) multiplier(node ast.Node, field string, into *float64) {
	number := math.NaN()
	switch node := node.(type) {
	case *ast.FloatNode:
		number = node.Value
	case *ast.IntegerNode:
		switch value := node.Value.(type) {
		case int64:
			number = float64(value)
		case uint64:
			number = float64(value)
		}
	}
	if !legalMultiplier(number) {
		r.add(node, field, fmt.Sprintf("must be a number from 1 to %d", maxMultiplier), "correct the value, and write it without quotes")
		return
	}
	*into = number
}

// duration reads a duration above zero, and reports whether the value is one.
func (r *reader) duration(node ast.Node, field string, into *Duration) bool {
	const cure = "write a number with its unit, such as 500ms, 5s, 15m or 24h"
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		r.add(node, field, "has no unit", cure)
		return false
	}
	text, ok := r.text(node, field)
	if !ok {
		return false
	}
	parsed, err := time.ParseDuration(text)
	_, notNumber := strconv.ParseFloat(text, 64)
	switch {
	case notNumber == nil:
		r.add(node, field, fmt.Sprintf("%q has no unit", text), cure)
	case err != nil:
		r.add(node, field, fmt.Sprintf("%q is not a duration", text), cure)
	case parsed < 0:
		r.add(node, field, text+" is below zero", "give a duration above zero")
	case parsed == 0:
		r.add(node, field, text+" is zero", "give a duration above zero")
	case parsed > maxDuration:
		r.add(node, field, text+" is longer than ten years", "give a shorter duration")
	default:
		*into = Duration(parsed)
		return true
	}
	return false
}

func (r *reader) statuses(node ast.Node, field string) []int {
	statuses := []int{}
	r.sequence(node, field, func(item ast.Node, at string) {
		var status int
		r.whole(item, at, 100, 599, &status)
		statuses = append(statuses, status)
	})
	slices.Sort(statuses)
	return slices.Compact(statuses)
}

var legalRate = regexp.MustCompile(`^(\d{1,9}(?:\.\d{1,9})?)/([sm])$`)

// maxRate is the Temporal SDK's default for a queue's rate, in activities per second. The SDK
// treats this value as no limit.
const maxRate = 100_000

// ParseRate reads a rate such as "50/s" or "90/m", and returns it per second.
func ParseRate(text string) (perSecond float64, err error) {
	parts := legalRate.FindStringSubmatch(text)
	if parts == nil {
		return 0, fmt.Errorf("%q is not a rate", text)
	}
	rate, err := strconv.ParseFloat(parts[1], 64)
	if parts[2] == "m" {
		rate /= 60
	}
	if err != nil || rate <= 0 || rate > maxRate {
		return 0, fmt.Errorf("%q is not above zero and at most %d/s", text, maxRate)
	}
	return rate, nil
}

// rate reads a rate as requests per second.
func (r *reader) rate(node ast.Node, field string) float64 {
	text, ok := r.text(node, field)
	if !ok {
		return 0
	}
	rate, err := ParseRate(text)
	if err != nil {
		r.add(node, field, err.Error(), "write it as 50/s or 90/m, or leave it out for no limit")
	}
	return rate
}

func (r *reader) state(node ast.Node, field string) State {
	text, ok := r.text(node, field)
	state := State(text)
	if ok && state != Active && state != Paused && state != Retired {
		r.add(node, field, fmt.Sprintf("%q is not a state", text), "use active, paused or retired")
	}
	return state
}

func (r *reader) when(node ast.Node, field string) *condition {
	var expression string
	if literal, ok := node.(*ast.BoolNode); ok {
		expression = literal.Token.Value
	} else if expression, ok = r.text(node, field); !ok {
		return nil
	}
	const cure = "correct the CEL expression; it sees event.id, .type, .interaction_id, .channel_type, .status and payload"
	if strings.TrimSpace(expression) == "" {
		r.add(node, field, "is empty", "give an expression, or remove the key to want every event")
		return nil
	}
	compiled, faults := newCondition(expression)
	for _, fault := range faults {
		line, column := r.inside(node, expression, fault)
		r.addAt(line, column, field, oneLine(fault.what), cure)
	}
	return compiled
}

// inside returns the position in the file of a mistake in an expression. If the file writes
// the expression in another form (folded, or with escapes), it returns the position at which
// the expression begins.
func (r *reader) inside(node ast.Node, expression string, at fault) (line, column int) {
	line, column = position(node)
	written := strings.Split(expression, "\n")
	if at.line < 1 || at.line > len(written) || written[at.line-1] == "" {
		return line, column
	}
	// The first line of a block scalar is one line below its | or >, so both lines are tried.
	for _, candidate := range []int{line + at.line - 1, line + at.line} {
		if candidate < 1 || candidate > len(r.lines) {
			continue
		}
		text := string(r.lines[candidate-1])
		before, _, found := strings.Cut(text, written[at.line-1])
		if found {
			return candidate, len([]rune(before)) + at.column + 1
		}
	}
	return line, column
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
