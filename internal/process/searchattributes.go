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
	// At process start, registering the attributes is tried for registerLimit.
	registerLimit    = 15 * time.Second
	registerInterval = 500 * time.Millisecond

	// registerAgainAfter is the wait between two later tries, which succeed if an operator has
	// run the command, or has given this process the right to register.
	registerAgainAfter = 30 * time.Second
)

// SearchAttributes says whether runs may use the search attributes. If a run upserts one that
// is not registered, its workflow task fails for ever.
type SearchAttributes struct{ usable atomic.Bool }

// Usable reports whether runs may use all of the attributes.
func (s *SearchAttributes) Usable() bool { return s.usable.Load() }

// EnsureSearchAttributes registers the attributes of the keys if the namespace lacks them. It
// returns when they are usable, when Temporal rejects the registration, or after 15 s. If they
// are not usable by then, it logs one warning with the consequence and the cure, and tries
// again in the background until they are usable or ctx ends. The error is that of ctx.
//
// The keys must have the type Keyword or KeywordList, because EnsureSearchAttributes finds out
// whether they are usable with a query that compares them with a text.
func EnsureSearchAttributes(ctx context.Context, c client.Client, namespace string, keys []temporal.SearchAttributeKey, log *slog.Logger) (*SearchAttributes, error) {
	wanted := typesOf(keys)
	return catalogOf(c, namespace, wanted).ensureNowOrLater(ctx, log.With("namespace", namespace), func(err error) string {
		return cureCommand(namespace, wanted, err)
	})
}

// ensureNowOrLater ensures the attributes. If that fails, it starts to try again in the
// background.
func (c catalog) ensureNowOrLater(ctx context.Context, log *slog.Logger, cure func(error) string) (*SearchAttributes, error) {
	attributes := &SearchAttributes{}
	err := c.ensure(ctx)
	switch {
	case err == nil:
		attributes.usable.Store(true)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		log.Warn("search attributes are not available, so runs cannot be searched by "+strings.Join(names(c.wanted), ", ")+
			"; run the command. The process tries again, and runs that start later have them",
			"every", registerAgainAfter, "error", err, "command", cure(err))
		go c.ensureLater(ctx, log, attributes)
	}
	return attributes, nil
}

// ensureLater tries again until the attributes are usable or ctx ends.
func (c catalog) ensureLater(ctx context.Context, log *slog.Logger, attributes *SearchAttributes) {
	began := time.Now()
	for pause(ctx, registerAgainAfter) {
		if c.ensure(ctx) == nil {
			attributes.usable.Store(true)
			log.Info("search attributes are available: new runs can be searched by "+strings.Join(names(c.wanted), ", "),
				"after", time.Since(began).Round(time.Second))
			return
		}
	}
}

// SearchAttributesUsable returns nil if runs may use the attributes of the keys, and otherwise
// an error that says why not. It asks once and registers nothing.
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

// catalog reads and changes the search attributes of a namespace.
type catalog struct {
	wanted map[string]enums.IndexedValueType

	list func(context.Context) (map[string]enums.IndexedValueType, error)
	add  func(context.Context, map[string]enums.IndexedValueType) error

	// usable counts runs with a query over all wanted attributes. It is not enough that an
	// attribute is listed, because a server lists it before its frontends accept it.
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

// errNotListed is transient.
var errNotListed = errors.New("added, but not yet listed")

// unusableError is a frontend's answer that it does not know the attributes. It is transient.
type unusableError struct{ err error }

func (e *unusableError) Error() string { return "listed, but not yet usable: " + e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// typeClashError says that the namespace has an attribute of that name with another type.
type typeClashError struct {
	name       string
	have, want enums.IndexedValueType
}

func (e *typeClashError) Error() string {
	return fmt.Sprintf("%s is registered as %s, not as %s", e.name, e.have, e.want)
}

// ensure registers the attributes. It tries again until they are usable, until an error is
// permanent, or until registerLimit is over.
func (c catalog) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerLimit)
	defer cancel()
	var last error
	for {
		err := c.ensureOnce(ctx)
		if err == nil || isPermanent(err) {
			return err
		}
		// An error that only says that the limit is over must not hide the one before it.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, registerInterval) {
			return last
		}
	}
}

func (c catalog) ensureOnce(ctx context.Context) error {
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
		// The server also rejects the addition if another process has just added them.
		if missing, listErr := c.missing(ctx); listErr != nil || len(missing) > 0 {
			return err
		}
	}
	return errNotListed
}

// missing returns the wanted attributes that are not registered. It compares the types too,
// because the server silently ignores an addition with another type.
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

// isPermanent reports whether a retry within registerLimit cannot succeed: this process lacks the
// rights, the server lacks the service, the namespace can have no more attributes, or an
// attribute has another type.
func isPermanent(err error) bool {
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

// cureCommand returns the command with which an operator who has the rights cures err.
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
