package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"
)

const (
	registerBound    = 15 * time.Second // of trying in all
	registerInterval = 500 * time.Millisecond

	// askAgainAfter is the wait between two tries after the start: somebody may have
	// run the command, or given this process the right to register.
	askAgainAfter = 30 * time.Second
)

// SearchAttributes knows whether a run may use the search attributes that were
// asked for: an upsert of one that is not registered fails a workflow task for ever.
type SearchAttributes struct{ usable atomic.Bool }

// Usable is true once a run may use all of them.
func (s *SearchAttributes) Usable() bool { return s.usable.Load() }

// EnsureSearchAttributes registers the attributes of these keys if the namespace
// lacks them. It returns when they are usable, when Temporal refuses, or after 15
// s. If they are not usable then, it logs one warning with the consequence and
// the cure, and asks again in the background until they are or ctx ends. The error
// is that of ctx. Keys are of type Keyword or KeywordList, because a query that
// compares them with a text shows whether they are usable.
func EnsureSearchAttributes(ctx context.Context, c client.Client, namespace string, keys []temporal.SearchAttributeKey, log *slog.Logger) (*SearchAttributes, error) {
	wanted := typesOf(keys)
	return catalogOf(c, namespace, wanted).watch(ctx, log.With("namespace", namespace), func(err error) string {
		return cureCommand(namespace, wanted, err)
	})
}

// watch ensures the attributes now, or else in the background.
func (c catalog) watch(ctx context.Context, log *slog.Logger, cure func(error) string) (*SearchAttributes, error) {
	attributes := &SearchAttributes{}
	err := c.ensure(ctx)
	switch {
	case err == nil:
		attributes.usable.Store(true)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		log.Warn("search attributes are not available: runs cannot be searched by "+strings.Join(names(c.wanted), ", ")+
			"; run the command. They are asked for again, and new runs have them then",
			"every", askAgainAfter, "error", err, "command", cure(err))
		go c.askAgain(ctx, log, attributes)
	}
	return attributes, nil
}

func (c catalog) askAgain(ctx context.Context, log *slog.Logger, attributes *SearchAttributes) {
	began := time.Now()
	for pause(ctx, askAgainAfter) {
		if c.ensure(ctx) == nil {
			attributes.usable.Store(true)
			log.Info("search attributes are available: new runs can be searched by "+strings.Join(names(c.wanted), ", "),
				"after", time.Since(began).Round(time.Second))
			return
		}
	}
}

// SearchAttributesUsable asks once, and registers nothing: nil says that a run
// may use the attributes of these keys, an error why it may not.
func SearchAttributesUsable(ctx context.Context, c client.Client, namespace string, keys []temporal.SearchAttributeKey) error {
	catalog := catalogOf(c, namespace, typesOf(keys))
	missing, err := catalog.missing(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("namespace %s does not have %s", namespace, strings.Join(names(missing), ", "))
	}
	return catalog.usable(ctx)
}

func typesOf(keys []temporal.SearchAttributeKey) map[string]enums.IndexedValueType {
	types := make(map[string]enums.IndexedValueType, len(keys))
	for _, key := range keys {
		types[key.GetName()] = key.GetValueType()
	}
	return types
}

// catalog is what a namespace offers about its search attributes.
type catalog struct {
	wanted map[string]enums.IndexedValueType

	list func(context.Context) (map[string]enums.IndexedValueType, error)
	add  func(context.Context, map[string]enums.IndexedValueType) error

	// usable asks for runs by every one of the wanted attributes. A server lists an
	// attribute before its frontends accept it, so being listed is not enough.
	usable func(context.Context) error
}

func catalogOf(c client.Client, namespace string, wanted map[string]enums.IndexedValueType) catalog {
	return catalog{
		wanted: wanted,
		list: func(ctx context.Context) (map[string]enums.IndexedValueType, error) {
			answer, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
			return answer.GetCustomAttributes(), err
		},
		add: func(ctx context.Context, missing map[string]enums.IndexedValueType) error {
			_, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
				Namespace: namespace, SearchAttributes: missing,
			})
			return err
		},
		usable: func(ctx context.Context) error {
			query := strings.Join(names(wanted), " = 'x' AND ") + " = 'x'"
			_, err := c.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{
				Namespace: namespace, Query: query,
			})
			return err
		},
	}
}

// errNotListed passes by itself.
var errNotListed = errors.New("added, but not yet listed")

// unusableError is the answer of a frontend that does not know the attributes yet.
type unusableError struct{ err error }

func (e *unusableError) Error() string { return "listed, but not yet usable: " + e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// typeClashError says that a name is taken by an attribute of another type.
type typeClashError struct {
	name       string
	have, want enums.IndexedValueType
}

func (e *typeClashError) Error() string {
	return fmt.Sprintf("%s is registered as %s, not as %s", e.name, e.have, e.want)
}

// ensure tries until the attributes are usable, a refusal that lasts, or the
// bound.
func (c catalog) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerBound)
	defer cancel()
	var last error
	for {
		err := c.attempt(ctx)
		if err == nil || lasting(err) {
			return err
		}
		// The bound itself must not hide what was wrong until then.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, registerInterval) {
			return last
		}
	}
}

func (c catalog) attempt(ctx context.Context) error {
	missing, err := c.missing(ctx)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		if err := c.usable(ctx); err != nil {
			return &unusableError{err}
		}
		return nil
	}
	if err := c.add(ctx, missing); err != nil {
		// Another process may have added them just now, which is refused too.
		if missing, listErr := c.missing(ctx); listErr != nil || len(missing) > 0 {
			return err
		}
	}
	return errNotListed
}

// missing compares what is registered with what is wanted. It also looks at the
// types: the server takes an addition with another type and ignores it.
func (c catalog) missing(ctx context.Context) (map[string]enums.IndexedValueType, error) {
	have, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range names(c.wanted) {
		want := c.wanted[name]
		switch registered, ok := have[name]; {
		case !ok:
			missing[name] = want
		case registered != want:
			return nil, &typeClashError{name, registered, want}
		}
	}
	return missing, nil
}

// lasting tells the refusals that no retry at start cures: rights, a server
// without the service, a namespace whose attributes are used up, a type.
func lasting(err error) bool {
	if _, ok := errors.AsType[*unusableError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*typeClashError](err); ok {
		return true
	}
	switch codeOf(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.InvalidArgument, codes.FailedPrecondition:
		return true
	default:
		return false
	}
}

// cureCommand is what an operator with the rights for it types.
func cureCommand(namespace string, wanted map[string]enums.IndexedValueType, err error) string {
	if clash, ok := errors.AsType[*typeClashError](err); ok {
		return fmt.Sprintf("temporal operator search-attribute remove --namespace %s --name %s", namespace, clash.name)
	}
	var command strings.Builder
	fmt.Fprintf(&command, "temporal operator search-attribute create --namespace %s", namespace)
	for _, name := range names(wanted) {
		fmt.Fprintf(&command, " --name %s --type %s", name, wanted[name])
	}
	return command.String()
}

func names(attributes map[string]enums.IndexedValueType) []string {
	return slices.Sorted(maps.Keys(attributes))
}
