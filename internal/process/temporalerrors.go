package process

import (
	"fmt"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
)

// RejectedError is an answer of Temporal that waiting cannot change: the credentials, the
// namespace or the address is wrong.
type RejectedError struct {
	Address   string
	Namespace string
	Code      codes.Code
	Err       error // Temporal's answer
}

// Error returns the request, the answer and the cure.
func (r *RejectedError) Error() string { return r.What() + "; " + r.Cure() }

// What returns the request and the answer.
func (r *RejectedError) What() string {
	return fmt.Sprintf("Temporal at %s rejected DescribeNamespace %q: %s", r.Address, r.Namespace, withCode(r.Err))
}

// Unwrap returns Temporal's answer.
func (r *RejectedError) Unwrap() error { return r.Err }

// Cure says what to do, and names the setting.
func (r *RejectedError) Cure() string {
	switch r.Code {
	case codes.Unauthenticated, codes.PermissionDenied:
		return "correct TEMPORAL_API_KEY, or the client certificate in TEMPORAL_TLS_*, and check that it has access to TEMPORAL_NAMESPACE"
	case codes.Unimplemented:
		return "correct TEMPORAL_ADDRESS: the server at this address is not a Temporal frontend"
	default:
		return "correct TEMPORAL_NAMESPACE or create the namespace, and check that TEMPORAL_ADDRESS is the right server"
	}
}

// rejectedError returns nil if err is transient.
func rejectedError(temporal TemporalConfig, err error) *RejectedError {
	code, rejected := rejectedCode(err)
	if !rejected {
		return nil
	}
	return &RejectedError{Address: temporal.Options.HostPort, Namespace: temporal.Options.Namespace, Code: code, Err: err}
}

// rejectedCode returns the gRPC code of an answer, and reports whether waiting cannot change
// the answer.
func rejectedCode(err error) (code codes.Code, rejected bool) {
	code = codeOf(err)
	switch code {
	case codes.Unauthenticated, codes.PermissionDenied, codes.NotFound, codes.InvalidArgument, codes.Unimplemented:
		return code, true
	default:
		return code, false
	}
}

// UnreachableError says that Temporal did not answer.
type UnreachableError struct {
	Address string
	Err     error
}

// Error returns the address and the cause.
func (u *UnreachableError) Error() string {
	return fmt.Sprintf("Temporal at %s does not answer: %s", u.Address, withCode(u.Err))
}

// Unwrap returns the cause.
func (u *UnreachableError) Unwrap() error { return u.Err }

// codeOf returns the gRPC code of an error that the SDK has wrapped into a type of its own.
func codeOf(err error) codes.Code { return serviceerror.ToStatus(err).Code() }

func messageOf(err error) string { return serviceerror.ToStatus(err).Message() }

// withCode returns an error whose text begins with the gRPC code, because the message may be
// empty.
func withCode(err error) error { return fmt.Errorf("%s: %s", codeOf(err), messageOf(err)) }
