package target

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// reader walks the YAML of a targets file and collects its problems. Its methods continue
// after a problem, so that one pass finds all problems. After a problem their results do not
// matter, because the file is rejected.
type reader struct {
	path      string
	lines     [][]byte
	lookupEnv func(string) (string, bool)
	problems  Problems
	warnings  Problems
}

// add reports a problem at the position of the node.
func (r *reader) add(node ast.Node, field, what, cure string) {
	line, column := position(node)
	r.addAt(line, column, field, what, cure)
}

func (r *reader) addAt(line, column int, field, what, cure string) {
	r.problems = append(r.problems, Problem{
		Path: r.path, Line: max(line, 1), Column: max(column, 1),
		Field: field, What: what, Cure: cure,
	})
}

// position returns the line and the column at which a node begins. For a block mapping it
// returns those of the first key, because the mapping's own token is the colon after that key.
func position(node ast.Node) (line, column int) {
	if mapping, ok := node.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		node = mapping.Values[0].Key
	}
	if token := node.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line, token.Position.Column
	}
	return 1, 1
}

// handler reads the value of one key.
type handler func(value ast.Node, field string)

// mapping calls the handler of each key with the key's value, and returns the values by key.
// It reports a key that is unknown or given twice. If the handler of a key is nil, it reports
// the key as not supported by this version.
func (r *reader) mapping(node ast.Node, field string, handlers map[string]handler) map[string]ast.Node {
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(handlers)), func(key string) bool { return handlers[key] == nil })
	given := make(map[string]ast.Node)
	r.entries(node, field, func(key ast.Node, name string, value ast.Node) {
		at := join(field, name)
		handle, ok := handlers[name]
		switch {
		case !ok:
			r.add(key, at, "is not a known key", "remove it, or use one of "+strings.Join(known, ", "))
		case handle == nil:
			r.add(key, at, "not supported by this version", "remove it")
		case has(given, name):
			r.add(key, at, "is given twice", "remove one of the two")
		case r.usable(value, at):
			handle(value, at)
		}
		given[name] = value
	})
	return given
}

func has(given map[string]ast.Node, key string) bool {
	_, ok := given[key]
	return ok
}

// entries calls each with every key of a mapping.
func (r *reader) entries(node ast.Node, field string, each func(key ast.Node, name string, value ast.Node)) {
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		r.add(node, field, "is not a mapping", "write it as key: value pairs")
		return
	}
	for _, entry := range mapping.Values {
		name, ok := keyName(entry.Key)
		if !ok {
			r.add(entry.Key, join(field, entry.Key.GetToken().Value), "is a key of a kind that is not supported", "write it as key: value")
			continue
		}
		each(entry.Key, name, entry.Value)
	}
}

func keyName(key ast.MapKeyNode) (string, bool) {
	switch key := key.(type) {
	case *ast.StringNode:
		return key.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.NanNode, *ast.InfinityNode:
		return key.GetToken().Value, true
	}
	return "", false // a merge key, an alias, or a key that begins with "?"
}

// sequence calls each with every item of a list.
func (r *reader) sequence(node ast.Node, field string, each handler) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		r.add(node, field, "is not a list", "write each item on its own line after a dash, or all of them in [ ]")
		return
	}
	for i, item := range list.Values {
		at := fmt.Sprintf("%s[%d]", field, i)
		if r.usable(item, at) {
			each(item, at)
		}
	}
}

// usable returns false, and adds a problem, if a value is empty or is a YAML anchor, alias or
// tag. Those are rejected, because they give a file another meaning than it seems to have.
func (r *reader) usable(value ast.Node, field string) bool {
	switch value.(type) {
	case nil, *ast.NullNode:
		if value == nil {
			r.addAt(1, 1, field, "has no value", "give it one, or remove it")
		} else {
			r.add(value, field, "has no value", "give it one, or remove it")
		}
		return false
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.add(value, field, "uses a YAML anchor, alias or tag, which is not supported", "write the value out")
		return false
	}
	return true
}

// text reads a string. If the value is another scalar, the problem asks for quotes.
func (r *reader) text(node ast.Node, field string) (string, bool) {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		return node.Value.Value, true
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		r.add(node, field, "is not a text", "give one value")
	default:
		r.add(node, field, "is not a text", "put the value in quotes")
	}
	return "", false
}

// whole reads a whole number between least and most.
func (r *reader) whole(node ast.Node, field string, least, most int, into *int) {
	rule := fmt.Sprintf("must be a whole number from %d to %d", least, most)
	integer, ok := node.(*ast.IntegerNode)
	if !ok {
		r.add(node, field, rule, "correct the value, and write it without quotes")
		return
	}
	var number int
	switch value := integer.Value.(type) {
	case int64:
		number = int(value)
	case uint64:
		number = int(min(value, uint64(most)+1)) // cannot overflow, because most is an int
	}
	if number < least || number > most {
		r.add(node, field, rule, "correct "+integer.Token.Value)
		return
	}
	*into = number
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join returns the name of a field inside a field. It quotes a key that could break the line.
func join(field, key string) string {
	if !plainKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if field == "" {
		return key
	}
	return field + "." + key
}
