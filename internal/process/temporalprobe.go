package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"
)

// TemporalProbe asks Temporal for --preflight. Unlike Dial it does not wait for Temporal, and
// unlike EnsureSearchAttributes it changes nothing.
type TemporalProbe struct {
	temporal TemporalConfig
	client   client.Client
}

// NewTemporalProbe returns a TemporalProbe, which connects with its first question. The caller
// closes it.
func NewTemporalProbe(o DialOptions) (*TemporalProbe, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	return &TemporalProbe{temporal: o.Temporal, client: c}, nil
}

// Close closes the connection.
func (p *TemporalProbe) Close() { p.client.Close() }

// Namespace asks for the namespace once. It returns how long the namespace keeps closed runs, 0
// if the answer does not say. The error is a *RejectedError or an *UnreachableError.
func (p *TemporalProbe) Namespace(ctx context.Context) (retention time.Duration, err error) {
	answer, err := p.client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{
		Namespace: p.temporal.Options.Namespace,
	})
	if err == nil {
		return answer.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(), nil
	}
	if rejected := rejectedError(p.temporal, err); rejected != nil {
		return 0, rejected
	}
	return 0, &UnreachableError{p.temporal.Options.HostPort, err}
}

// AttributeState says which search attributes a namespace has.
type AttributeState struct {
	Missing []string // the names that are not registered
	// Err says why the attributes cannot be used or, if some are missing, why this process
	// cannot register them. Command is the command with which an operator corrects that.
	Err     error
	Command string
}

// SearchAttributes asks which of the attributes are registered. If some are missing, it finds
// out whether this process has the right to register them.
func (p *TemporalProbe) SearchAttributes(ctx context.Context, keys []temporal.SearchAttributeKey) AttributeState {
	namespace, wanted := p.temporal.Options.Namespace, typesOf(keys)
	catalog := catalogOf(p.client, namespace, wanted)
	missing, err := catalog.missing(ctx)
	found := AttributeState{Missing: names(missing)}
	switch {
	case errors.As(err, new(*typeClashError)):
		found.Err = err
	case err != nil:
		found.Err = fmt.Errorf("the search attributes cannot be listed: %w", withCode(err))
	case len(missing) > 0:
		found.Err = p.checkRightToRegister(ctx, namespace)
	default:
		if err := catalog.usable(ctx); err != nil {
			found.Err = &unusableError{withCode(err)}
		}
	}
	if found.Err != nil {
		found.Command = cureCommand(namespace, wanted, found.Err)
	}
	return found
}

// checkRightToRegister returns an error if the server says that this process may not register
// search attributes. It asks the server to register an empty list, because the server checks
// the rights before it finds that there is nothing to register.
func (p *TemporalProbe) checkRightToRegister(ctx context.Context, namespace string) error {
	_, err := p.client.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: map[string]enums.IndexedValueType{},
	})
	switch codeOf(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return fmt.Errorf("this process may not register search attributes: %w", withCode(err))
	}
	return nil
}
