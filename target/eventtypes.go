package target

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// EventType is a value of event.type that a `when` asks for, or a prefix of such a value.
type EventType struct {
	Text   string
	Prefix bool // true if the expression uses startsWith
}

// EventTypes returns the literals with which the target's `when` compares event.type, if a
// match makes the target want the event. It understands ==, in and startsWith, joined by &&
// and ||. It leaves out every other expression, for example a negated one. An empty list
// therefore does not mean that the target wants no event type.
func (t *Target) EventTypes() []EventType {
	if t.when == nil {
		return nil
	}
	return slices.Clone(t.when.types)
}

// eventTypes returns the event types of a checked expression.
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

// isEventType reports whether the expression is event.type.
func isEventType(e ast.Expr) bool {
	if e.Kind() != ast.SelectKind {
		return false
	}
	field := e.AsSelect()
	return field.FieldName() == "type" && !field.IsTestOnly() && field.Operand().Kind() == ast.IdentKind && field.Operand().AsIdent() == "event"
}

// literals returns the expressions that are string literals.
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
