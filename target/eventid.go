package target

import (
	"fmt"

	"cel.dev/cel-go/cel"

	"genesys-fanout/event"
)

// eventIDCost bounds one evaluation of an EventID, in the units of CEL: about one
// for each operation and one for ten characters of a string that is built. The
// bound is a cost and not a time, because a message must have the same id on
// every machine. A loop over 10,000 elements stays below it. The dearest
// evaluation takes half a second, since the bookkeeping of the cost grows with
// the square of it, so the bound is no higher.
const eventIDCost = 100_000

// EventID is the expression that says what identifies an event, compiled. It is a
// pure function of the message. The nil EventID is event.id.
type EventID struct{ program cel.Program }

// ParseEventID compiles a CEL expression over event and payload whose result is a
// string. The errors say, one for each fault, where in the expression it is and
// what is wrong.
func ParseEventID(expression string) (*EventID, []error) {
	program, _, faults := compile(expression, cel.StringType, cel.CostLimit(eventIDCost))
	var errs []error
	for _, f := range faults {
		errs = append(errs, fmt.Errorf("line %d, column %d: %s", f.line, f.column+1, oneLine(f.what)))
	}
	if errs != nil {
		return nil, errs
	}
	return &EventID{program}, nil
}

// Of evaluates the expression for a decoded event. The error says why it has no
// result for this one.
func (x *EventID) Of(e event.Event) (string, error) {
	if x == nil {
		return e.ID, nil
	}
	result, _, err := x.program.Eval(&variables{event: &e})
	if err != nil {
		return "", fmt.Errorf("evaluate the event's id: %w", err)
	}
	id, _ := result.Value().(string)
	return id, nil
}
