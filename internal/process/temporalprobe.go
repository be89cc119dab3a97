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

// TemporalProbe asks Temporal what a preflight wants to know. Unlike Dial it waits for
// nothing, and unlike EnsureSearchAttributes it changes nothing.
type TemporalProbe struct {
	temporal TemporalConfig
	client   client.Client
}

// NewTemporalProbe makes a Probe; it connects to nothing. Close frees it.
func NewTemporalProbe(conn DialOptions) (*TemporalProbe, error) {
	c, err := newClient(conn)
	if err != nil {
		return nil, err
	}
	return &TemporalProbe{temporal: conn.Temporal, client: c}, nil
}

// Close ends the connection.
func (p *TemporalProbe) Close() { p.client.Close() }

// Namespace asks for the namespace once and tells how long it keeps closed runs,
// 0 where it does not say. The error is a *RejectedError, or an *UnreachableError.
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

// AttributeState is what a namespace has of the search attributes that were asked for.
type AttributeState struct {
	Missing []string
	// Err says why they cannot be used or, where any are missing, registered;
	// Command is what an operator types then.
	Err     error
	Command string
}

// SearchAttributes looks which of the attributes are registered. Where some are
// missing it asks to register none at all: a server checks the rights before it
// finds nothing to do.
func (p *TemporalProbe) SearchAttributes(ctx context.Context, keys []temporal.SearchAttributeKey) AttributeState {
	namespace, wanted := p.temporal.Options.Namespace, typesOf(keys)
	catalog := catalogOf(p.client, namespace, wanted)
	missing, err := catalog.missing(ctx)
	found := AttributeState{Missing: names(missing)}
	switch {
	case errors.As(err, new(*typeClashError)):
		found.Err = err
	case err != nil:
		found.Err = fmt.Errorf("cannot be listed: %w", withCode(err))
	case len(missing) > 0:
		found.Err = p.mayRegister(ctx, namespace)
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

// mayRegister is nil unless the server says that this process may not.
func (p *TemporalProbe) mayRegister(ctx context.Context, namespace string) error {
	_, err := p.client.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: map[string]enums.IndexedValueType{},
	})
	switch codeOf(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return fmt.Errorf("may not be registered by this process: %w", withCode(err))
	}
	return nil
}
