package target

import (
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"golang.org/x/net/http/httpguts"

	"genesys-fanout/internal/setting"
)

// reservedHeaders lists the headers that the delivering process or HTTP itself sets.
var reservedHeaders = []string{
	"connection", "content-encoding", "content-length", "content-type", "expect", "host", "idempotency-key",
	"keep-alive", "proxy-connection", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "x-delivery-attempt",
}

var reservedPrefixes = []string{"x-genesys-", "x-kafka-", "webhook-"}

func reserved(name string) bool {
	name = strings.ToLower(name)
	hasPrefix := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return slices.Contains(reservedHeaders, name) || slices.ContainsFunc(reservedPrefixes, hasPrefix)
}

// headers reads the headers into t. Its problems never contain a value, because it may be a
// secret.
func (r *reader) headers(node ast.Node, field string, t *Target) {
	t.Headers = Headers{}
	seen := make(map[string]bool)
	r.entries(node, field, func(key ast.Node, name string, value ast.Node) {
		at := join(field, name)
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			r.add(key, at, "is not a legal header name", "use letters, digits and -")
		case reserved(name):
			r.add(key, at, "is reserved, because each delivery sets it", "remove it")
		case seen[canonical]:
			r.add(key, at, "is given twice, because header names ignore upper and lower case", "remove one of the two")
		case r.usable(value, at):
			t.Headers[name] = r.header(value, at, t)
		}
		seen[canonical] = true
	})
}

func (r *reader) header(node ast.Node, field string, t *Target) string {
	text, ok := r.text(node, field)
	if !ok {
		return ""
	}
	value, secrets, wrong := expand(text, r.lookupEnv)
	for _, u := range wrong {
		r.add(node, field, u.what, u.cure)
	}
	if len(wrong) > 0 {
		return ""
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		r.add(node, field, "contains a character that is not allowed in a header, such as a line break", "remove it from the value, or from the variable")
	}
	t.secrets = append(t.secrets, secrets...)
	return value
}

// unresolved describes a ${} that cannot be replaced.
type unresolved struct{ what, cure string }

var reference = regexp.MustCompile(`\$\{([^}]*)\}?`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces every ${NAME} in a text. It also returns the values that it inserted, and
// every ${} that it could not replace.
func expand(text string, lookupEnv func(string) (string, bool)) (value string, secrets []string, wrong []unresolved) {
	value = reference.ReplaceAllStringFunc(text, func(match string) string {
		name, closed := strings.CutSuffix(strings.TrimPrefix(match, "${"), "}")
		if !closed || !variableName.MatchString(name) {
			wrong = append(wrong, unresolved{"contains a ${ that is not a reference to a variable", "write ${NAME}, where NAME consists of letters, digits and _"})
			return ""
		}
		secret, err := lookup(name, lookupEnv)
		if err != nil {
			wrong = append(wrong, *err)
			return ""
		}
		secrets = append(secrets, secret)
		return secret
	})
	return value, secrets, wrong
}

// lookup reads a secret with setting.Secret. If the secret is not set, that is a mistake in
// the targets file. If lookupEnv is nil, the secret is empty.
func lookup(name string, lookupEnv func(string) (string, bool)) (string, *unresolved) {
	if lookupEnv == nil {
		return "", nil
	}
	value, set, err := setting.Secret(name, lookupEnv)
	var problem *setting.Problem
	switch {
	case errors.As(err, &problem):
		return "", &unresolved{problem.Variable + " " + problem.What, problem.Cure}
	case !set:
		return "", &unresolved{name + " is not set", fmt.Sprintf("set %s, or set %s_FILE to a file that contains it", name, name)}
	}
	return value, nil
}
