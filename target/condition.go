package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"genesys-fanout/event"
)

// condition is a compiled `when`. The nil condition matches every event.
type condition struct {
	program cel.Program
	limit   time.Duration // for one evaluation
	types   []EventType   // that it asks for
}

// routing is what `when` sees of an event. A field that is not here is an error
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

var conditionEnv = sync.OnceValues(func() (*cel.Env, error) {
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

// newCondition compiles an expression. Where that is nil, the faults say why.
func newCondition(expression string) (*condition, []fault) {
	env, err := conditionEnv()
	if err != nil {
		return nil, []fault{{1, 0, err.Error()}}
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, faultsOf(issues)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, []fault{{1, 0, "the expression is of type " + ast.OutputType().String() + ", not bool"}}
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(1))
	if err != nil {
		return nil, []fault{{1, 0, err.Error()}}
	}
	return &condition{program, evaluationLimit, eventTypes(ast.NativeRep().Expr())}, nil
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
	case nil:
		return types.NullValue
	}
	return value
}
