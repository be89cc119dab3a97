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
	limit   time.Duration // the longest that one evaluation may take
	types   []EventType   // the event types that the expression asks for
}

// routing is the variable event of an expression. If an expression uses a field that is not
// here, reading the file fails, so that no condition silently never matches.
type routing struct {
	ID            string `cel:"id"`
	Type          string `cel:"type"`
	InteractionID string `cel:"interaction_id"`
	ChannelType   string `cel:"channel_type"`
	Status        string `cel:"status"`
}

// evaluationLimit bounds the evaluation of a `when`. It is there for loops over a payload
// inside loops over a payload; one loop over 1 MiB takes a tenth of it. CEL's own cost limit
// would be the same on every machine, but the time of its bookkeeping grows with the square
// of a list's length: it takes half a second for 20,000 elements that need 10 ms without.
const evaluationLimit = time.Second

// expressionEnv returns the CEL environment of a `when` and of FANOUT_EVENT_ID, which defines
// the variables event and payload.
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

// fault is one mistake in an expression. line counts from 1 and column from 0, in characters
// of the expression.
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

// compile compiles an expression over event and payload. It rejects an expression whose
// result is not of the given type.
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
		// The parser lists every token that it expected, which is too long for a message.
		what, _, _ := strings.Cut(issue.Message, " expecting {")
		faults = append(faults, fault{issue.Location.Line(), issue.Location.Column(), what})
	}
	return faults
}

// matches reports whether the target wants the event. An expression that cannot be evaluated
// counts as a match.
func (c *condition) matches(vars *variables) bool {
	if c == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limit)
	defer cancel()
	result, _, err := c.program.ContextEval(ctx, vars)
	return err != nil || result.Value() != false
}

// variables gives an event to the conditions of all targets. It decodes the payload only
// once, when the first condition asks for it.
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

// decodePayload reads the JSON into values of CEL. A whole number becomes an int, so that it
// keeps all of its digits, and any other number becomes a double. CEL can compare the two.
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

// orderedMap is a JSON object over which a loop iterates in the order of its names. Go's own
// order changes each time, and then the result of an expression could change too.
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
		float, _ := v.Float64() // a number out of range becomes ±Inf, which compares correctly
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
