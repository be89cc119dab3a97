package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"

	"genesys-fanout/event"
)

// condition is a compiled `when`. The nil condition matches every event.
type condition struct {
	program cel.Program
	limit   time.Duration // for one evaluation
	types   []EventType   // that it asks for
}

// routing is what an expression sees of an event. A field that is not here is an error
// when the file is read, not a condition that never matches.
type routing struct {
	ID            string `cel:"id"`
	Type          string `cel:"type"`
	InteractionID string `cel:"interaction_id"`
	ChannelType   string `cel:"channel_type"`
	Status        string `cel:"status"`
}

// evaluationLimit is there for loops over a payload inside loops over a payload.
// One loop over 1 MiB takes a tenth of it. CEL's own cost limit would be the same
// on every machine, but its bookkeeping takes time that grows with the square of
// a list's length: half a second for 20,000 elements that need 10 ms without.
const evaluationLimit = time.Second

// expressionEnv is what an expression sees, a `when` or FANOUT_EVENT_ID.
var expressionEnv = sync.OnceValues(func() (*cel.Env, error) {
	routingType, err := types.NewNativeType(reflect.TypeFor[routing](), types.ParseStructTags(true))
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.Types(routingType),
		cel.Variable("event", cel.ObjectType(routingType.TypeName())),
		cel.Variable("payload", cel.DynType),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(),
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
		),
	)
})

// fault is something wrong with an expression; line counts from 1 and column
// from 0, in characters of the expression.
type fault struct {
	line, column int
	what         string
}

// newCondition compiles an expression. If it returns nil, the faults say why.
func newCondition(expression string) (*condition, []fault) {
	program, ast, faults := compile(expression, cel.BoolType, cel.InterruptCheckFrequency(1))
	if faults != nil {
		return nil, faults
	}
	return &condition{program, evaluationLimit, eventTypes(ast.NativeRep().Expr())}, nil
}

// compile compiles an expression over event and payload, and refuses one whose
// result is of another type.
func compile(expression string, result *cel.Type, options ...cel.ProgramOption) (cel.Program, *cel.Ast, []fault) {
	env, err := expressionEnv()
	if err != nil {
		return nil, nil, []fault{{1, 0, err.Error()}}
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, nil, faultsOf(issues)
	}
	if !ast.OutputType().IsExactType(result) {
		return nil, nil, []fault{{1, 0, fmt.Sprintf("the expression is of type %s, not %s", ast.OutputType(), result)}}
	}
	program, err := env.Program(ast, append(options, cel.EvalOptions(cel.OptOptimize))...)
	if err != nil {
		return nil, nil, []fault{{1, 0, err.Error()}}
	}
	return program, ast, nil
}

func faultsOf(issues *cel.Issues) []fault {
	var faults []fault
	for _, issue := range issues.Errors() {
		// The parser lists every token that it would have taken.
		what, _, _ := strings.Cut(issue.Message, " expecting {")
		faults = append(faults, fault{issue.Location.Line(), issue.Location.Column(), what})
	}
	return faults
}

// matches reports whether the event is wanted. What cannot be evaluated counts
// as wanted.
func (c *condition) matches(vars *variables) bool {
	if c == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limit)
	defer cancel()
	result, _, err := c.program.ContextEval(ctx, vars)
	return err != nil || result.Value() != false
}

// variables hands an event to the conditions of all targets: the payload is
// decoded when the first of them asks for it, and once.
type variables struct {
	event   *event.Event
	decoded bool
	payload any
	found   bool
}

// ResolveName implements cel.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return routing{
			ID:            v.event.ID,
			Type:          v.event.Type,
			InteractionID: v.event.InteractionID,
			ChannelType:   v.event.ChannelType,
			Status:        v.event.Status,
		}, true
	case "payload":
		if !v.decoded {
			v.payload, v.found = decodePayload(v.event.Document)
			v.decoded = true
		}
		return v.payload, v.found
	}
	return nil, false
}

// Parent implements cel.Activation.
func (v *variables) Parent() cel.Activation { return nil }

// decodePayload reads the JSON as CEL knows it: a whole number is an int, so
// that none of its digits is lost, and any other number a double. CEL compares
// the two with each other.
func decodePayload(document []byte) (any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var payload any
	if err := decoder.Decode(&payload); err != nil {
		return nil, false
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return withNumbers(payload), true
}

// orderedMap is a JSON object that a loop sees in the order of its names. Go's
// own order is another one each time, and the result of an expression must not
// be.
type orderedMap struct {
	traits.Mapper
	members map[string]any
}

// Iterator implements traits.Iterable.
func (m orderedMap) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, slices.Sorted(maps.Keys(m.members))).Iterator()
}

func withNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole
		}
		float, _ := v.Float64() // out of range is ±Inf, which compares as it should
		return float
	case []any:
		for i := range v {
			v[i] = withNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withNumbers(v[key])
		}
		return orderedMap{types.NewStringInterfaceMap(types.DefaultTypeAdapter, v), v}
	case nil:
		return types.NullValue
	}
	return value
}
