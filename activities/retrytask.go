package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// retryTask is one task of the retry lane: a delivery, and the time that is left for it.
type retryTask struct {
	fanout.DeliverInput
	expiresAt time.Time // when max_age has passed, by this process's clock; zero means never
}

// expiry returns when Temporal ends an activity together with all its retries. It is zero if
// Temporal never does. It is computed from the time that is left by Temporal's clock, because
// that clock and the clock of this process may differ.
func expiry(ctx context.Context) time.Time {
	info := activity.GetInfo(ctx)
	if info.ScheduleToCloseTimeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(info.ScheduledTime.Add(info.ScheduleToCloseTimeout).Sub(info.StartedTime))
}

// failure returns the error with which Deliver reports an outcome to Temporal. It is nil if the
// event was delivered.
func (t retryTask) failure(o fanout.Outcome) error {
	switch {
	case o.Verdict == fanout.Delivered:
		return nil
	case o.Verdict == fanout.Rejected:
		return fanout.GivenUp(event.ReasonRejected, o.Progress, "")
	case o.Verdict == fanout.Held:
		t.Progress = o.Progress
		return t.heldFailure(targetUnavailable, max(firstProbeDelay, time.Until(o.NotBefore)))
	case o.Progress.Attempts >= t.Policy.MaxAttempts:
		return fanout.GivenUp(event.ReasonExhausted, o.Progress, "")
	}
	t.Progress = o.Progress
	return t.retryableFailure(fanout.FailureRetry, o.Wait, time.Until(o.NotBefore), temporal.ApplicationErrorCategoryUnspecified,
		fmt.Sprintf("%s, attempt %d of %d: %s", t.Policy.Target, o.Progress.Attempts, t.Policy.MaxAttempts, o.Progress.Error))
}

// heldFailure returns the failure of a task that sent nothing and spent no attempt. Temporal
// retries the task after least or a little later. The message repeats the delivery's last
// error, so that an operator still sees it.
func (t retryTask) heldFailure(why string, least time.Duration) error {
	message := fmt.Sprintf("%s, held back: %s", t.Policy.Target, why)
	if t.Progress.Error != "" {
		message += fmt.Sprintf("; attempt %d of %d: %s", t.Progress.Attempts, t.Policy.MaxAttempts, t.Progress.Error)
	}
	wait := fanout.Wait{Least: target.Duration(least), Why: "held back: " + why}
	return t.retryableFailure(fanout.FailureHeld, wait, withJitter(wait), temporal.ApplicationErrorCategoryBenign, message)
}

// retryableFailure returns a failure that Temporal retries after delay, which is the wait with
// its jitter. If the wait does not fit into the rest of max_age, the delivery is given up at
// once, because Temporal would then give it up without saying why.
func (t retryTask) retryableFailure(failureType string, wait fanout.Wait, delay time.Duration, category temporal.ApplicationErrorCategory, message string) error {
	if !t.expiresAt.IsZero() {
		left := time.Until(t.expiresAt)
		if expired := wait.Expired(left, t.Policy.MaxAge); expired != "" {
			return fanout.GivenUp(event.ReasonExpired, t.Progress, expired)
		}
		if delay > left { // the wait fits, but its jitter does not
			delay = time.Duration(wait.Least)
		}
	}
	return temporal.NewApplicationErrorWithOptions(message, failureType, temporal.ApplicationErrorOptions{
		NextRetryDelay: max(delay, time.Millisecond),
		Details:        []any{t.Progress},
		Category:       category,
	})
}
