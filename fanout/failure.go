package fanout

import (
	"errors"
	"slices"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
)

// The failure types of activities and of the run. The other failure types are the reasons of
// package event, which end a delivery.
const (
	// FailureRetry and FailureHeld are failures of Deliver that Temporal retries. After
	// FailureRetry an attempt is spent; after FailureHeld, which means that the delivery
	// was held back, none is.
	FailureRetry = "retry"
	FailureHeld  = "held"

	// FailureUnknown is the failure of a task of Deliver if the progress names a request that
	// another process began and whose outcome is not recorded. It is not retryable. The
	// workflow asks that process (Recall), and schedules Deliver again.
	FailureUnknown = "unknown"

	// FailureOtherTracker is the failure of a task that only a worker with another tracker
	// can execute. Temporal retries the task.
	FailureOtherTracker = "OtherTracker"

	// FailureDeadLettered is the failure with which a run ends if it leaves dead letters. Its
	// details are DeadLetteredDetails.
	FailureDeadLettered = "DeadLettered"
)

// DeadLetteredDetails are the details of FailureDeadLettered, and of the cancellation of a run
// that leaves dead letters.
type DeadLetteredDetails struct {
	// Trackers maps each target to the identity of the tracker that has its open record.
	Trackers map[string]string `json:"trackers,omitempty"`
}

// terminal lists the reasons for which Deliver itself gives a delivery up.
var terminal = []event.Reason{event.ReasonRejected, event.ReasonExhausted, event.ReasonRetired, event.ReasonExpired}

// GivenUp returns the failure of a delivery that is given up. Its message is why, followed
// by the error of the last attempt. why may be empty.
func GivenUp(reason event.Reason, progress Progress, why string) error {
	progress = progress.PrefixError(why)
	return temporal.NewApplicationErrorWithOptions(progress.Error, string(reason), temporal.ApplicationErrorOptions{
		NonRetryable: true,
		Details:      []any{progress},
	})
}

// IsFinal reports whether Temporal does not retry a failure of Deliver.
func IsFinal(err error) bool {
	failure, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && failure.NonRetryable()
}

// Unknown returns the FailureUnknown of a delivery with this progress.
func Unknown(progress Progress) error {
	return temporal.NewApplicationErrorWithOptions("another process knows the outcome of the last attempt; the run asks it", FailureUnknown,
		temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{progress}, Category: temporal.ApplicationErrorCategoryBenign})
}

// IsUnknown reports whether err is a FailureUnknown.
func IsUnknown(err error) bool {
	failure, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && failure.Type() == FailureUnknown
}

// Explain returns the reason why a delivery ended, and its progress. err is the failure of
// Deliver as a workflow gets it, and known is the progress before Deliver ran.
func Explain(err error, known Progress) (event.Reason, Progress) {
	return Reason(err, LastProgress(err, known))
}

// Reason returns the reason why a delivery with this progress ended, and the progress with the
// reason in its error. The reason is exhausted if max_attempts requests failed, and also if an
// operator's command ended the activity Deliver.
func Reason(err error, progress Progress) (event.Reason, Progress) {
	var failure *temporal.ApplicationError
	if errors.As(err, &failure) && slices.Contains(terminal, event.Reason(failure.Type())) {
		return event.Reason(failure.Type()), progress
	}
	switch {
	case temporal.IsCanceledError(err), retryState(err) == enums.RETRY_STATE_CANCEL_REQUESTED:
		return event.ReasonCanceled, progress.PrefixError("the run was canceled")
	case isTimeout(err):
		return event.ReasonExpired, progress.MaxAgePassed()
	case retryState(err) == enums.RETRY_STATE_TIMEOUT:
		// By Temporal's clock the wait exceeded max_age, although by Deliver's clock it fitted.
		return event.ReasonExpired, progress.PrefixError("the wait before the next attempt is longer than what was left of max_age")
	}
	// An operator's command ended the activity. There is no reason of its own for that.
	if progress.Error == "" {
		progress.Error = rootMessage(err)
	}
	return event.ReasonExhausted, progress
}

// LastProgress returns the newest progress that err carries, or known if it carries none. A
// failure or a cancellation has the progress as details. They may be absent, because
// Temporal keeps only the message of a failure over 4 KiB, and a lost worker leaves no
// failure. A timeout also carries the last heartbeat.
func LastProgress(err error, known Progress) Progress {
	var failed, beat Progress
	hasFailed := detailsOf[*temporal.ApplicationError](err, &failed) || detailsOf[*temporal.CanceledError](err, &failed)
	var timeout *temporal.TimeoutError
	hasBeat := errors.As(err, &timeout) && timeout.HasLastHeartbeatDetails() && timeout.LastHeartbeatDetails(&beat) == nil
	switch {
	case hasBeat && (!hasFailed || beat.Attempts > failed.Attempts):
		return beat
	case hasFailed:
		return failed
	}
	return known
}

// detailsOf reads the progress from the details of the first E in err's chain.
func detailsOf[E interface {
	error
	HasDetails() bool
	Details(values ...any) error
}](err error, progress *Progress) bool {
	failure, ok := errors.AsType[E](err)
	return ok && failure.HasDetails() && failure.Details(progress) == nil
}

func isTimeout(err error) bool {
	var timeout *temporal.TimeoutError
	return errors.As(err, &timeout)
}

func retryState(err error) enums.RetryState {
	if failed, ok := errors.AsType[*temporal.ActivityError](err); ok {
		return failed.RetryState()
	}
	return enums.RETRY_STATE_UNSPECIFIED
}

func rootMessage(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
