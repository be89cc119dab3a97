package target

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// EventType is a value of event.type that a `when` asks for, or the beginning of
// one.
type EventType struct {
	Text   string
	Prefix bool // by startsWith
}

// EventTypes lists what the target's `when` compares event.type with, where a
// match is what makes an event wanted: ==, in and startsWith with literals, joined
// by && and ||. What stands in any other expression, as under a negation, is left
// out, so an empty list says nothing.
func (t *Target) EventTypes() []EventType {
	if t.when == nil {
		return nil
	}
	return slices.Clone(t.when.types)
}

// eventTypes reads them from a checked expression.
func eventTypes(e ast.Expr) []EventType {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	switch args := call.Args(); call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		var all []EventType
		for _, arg := range args {
			all = append(all, eventTypes(arg)...)
		}
		return all
	case operators.Equals:
		if isEventType(args[0]) {
			return literals(args[1])
		}
		if isEventType(args[1]) {
			return literals(args[0])
		}
	case operators.In:
		if isEventType(args[0]) && args[1].Kind() == ast.ListKind {
			return literals(args[1].AsList().Elements()...)
		}
	case "startsWith":
		if call.IsMemberFunction() && isEventType(call.Target()) {
			types := literals(args...)
			for i := range types {
				types[i].Prefix = true
			}
			return types
		}
	}
	return nil
}

// isEventType is true for event.type.
func isEventType(e ast.Expr) bool {
	if e.Kind() != ast.SelectKind {
		return false
	}
	field := e.AsSelect()
	return field.FieldName() == "type" && !field.IsTestOnly() && field.Operand().Kind() == ast.IdentKind && field.Operand().AsIdent() == "event"
}

// literals are the texts among the expressions.
func literals(all ...ast.Expr) []EventType {
	var types []EventType
	for _, e := range all {
		if e.Kind() != ast.LiteralKind {
			continue
		}
		if text, ok := e.AsLiteral().Value().(string); ok {
			types = append(types, EventType{Text: text})
		}
	}
	return types
}
