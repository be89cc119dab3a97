package target

import (
	"bytes"
	"errors"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"genesys-fanout/internal/setting"
)

// Load reads a targets file. lookupEnv, such as os.LookupEnv, resolves the ${} of headers. If
// it is nil, they stay empty; this is for a process that sends no requests and should not be
// given the secrets. The error is Problems.
func Load(path string, lookupEnv func(string) (string, bool)) (*Set, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Problems{{
			Path: path,
			What: "cannot be read: " + setting.Cause(err),
			Cure: "set FANOUT_TARGETS to the path of your targets file",
			Err:  err,
		}}
	}
	return Parse(path, data, lookupEnv)
}

// Parse reads the content of a targets file. It writes path in front of every problem. The
// error is Problems and contains all problems of the file.
func Parse(path string, data []byte, lookupEnv func(string) (string, bool)) (*Set, error) {
	r := &reader{path: path, lookupEnv: lookupEnv}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors on Windows write a byte order mark
	r.lines = bytes.Split(data, []byte("\n"))

	var targets []*Target
	if root := r.document(data); root != nil {
		targets = r.root(root)
	}
	if len(r.problems) > 0 {
		r.problems.sort()
		return nil, r.problems
	}
	r.warnings.sort()
	set := newSet(targets)
	set.warnings = r.warnings
	return set, nil
}

// document parses the YAML and returns the body of its only document. It returns nil if there
// is a problem.
func (r *reader) document(data []byte) ast.Node {
	// The parser allows duplicate keys, because mapping finds all of them and the parser
	// would stop at the first.
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		r.addAt(1, 1, "targets", "the file is empty", "list at least one target under targets:")
		return nil
	case 1:
		return bodies[0]
	}
	r.add(bodies[1], fieldYAML, "a second document begins here", "keep one document, with all targets in it")
	return nil
}

// fieldYAML is the field of a problem if the YAML itself is wrong and no field is known.
const fieldYAML = "YAML"

func (r *reader) syntax(err error) {
	const cure = "correct the YAML; mind indentation, quotes and brackets"
	line, column, what := 1, 1, "cannot be parsed"
	if located, ok := errors.AsType[yaml.Error](err); ok {
		what = oneLine(located.GetMessage())
		if token := located.GetToken(); token != nil && token.Position != nil {
			line, column = token.Position.Line, token.Position.Column
		}
	}
	r.addAt(line, column, fieldYAML, what, cure)
}
