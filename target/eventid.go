package target

import (
	"fmt"

	"cel.dev/cel-go/cel"

	"genesys-fanout/event"
)

// eventIDCost bounds one evaluation of an EventID, in CEL's units of cost: about one for each
// operation, and one for each ten characters of a string that the expression builds. The
// bound is a cost and not a time, because a message must have the same id on every machine. A
// loop over 10,000 elements stays below it. The bound is no higher, because the time for the
// bookkeeping grows with the square of the cost: the most expensive evaluation takes half a
// second.
const eventIDCost = 100_000

// EventID is a compiled expression whose result is the id of an event. It is a pure function
// of the message. The nil EventID returns event.id.
type EventID struct{ program cel.Program }

// ParseEventID compiles a CEL expression over event and payload. The result of the expression
// must be a string. It returns one error for each mistake, which says where in the expression
// the mistake is and what is wrong.
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

// Of evaluates the expression for a decoded event. The error says why the expression has no
// result for this event.
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
