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

// dispatch is a delivery as one task of the retry lane has it.
type dispatch struct {
	fanout.DeliverInput
	expires time.Time // when max_age has passed, by this process's clock; zero: never
}

// expiry is when Temporal ends an activity, whatever its retries. Temporal's clock
// and that of this process may differ, so it is computed from what Temporal's says
// is left.
func expiry(ctx context.Context) time.Time {
	info := activity.GetInfo(ctx)
	if info.ScheduleToCloseTimeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(info.ScheduledTime.Add(info.ScheduleToCloseTimeout).Sub(info.StartedTime))
}

// failure is the error by which Deliver reports an outcome to Temporal; nil if the
// event was delivered.
func (d dispatch) failure(o fanout.Outcome) error {
	switch {
	case o.Verdict == fanout.Delivered:
		return nil
	case o.Verdict == fanout.Rejected:
		return fanout.GivenUp(event.ReasonRejected, o.Progress, "")
	case o.Verdict == fanout.Held:
		d.Progress = o.Progress
		return d.held("the target does not answer", max(firstProbe, time.Until(o.NotBefore)))
	case o.Progress.Attempts >= d.Policy.MaxAttempts:
		return fanout.GivenUp(event.ReasonExhausted, o.Progress, "")
	}
	d.Progress = o.Progress
	return d.again(o.Wait, time.Until(o.NotBefore), fanout.FailureRetry, temporal.ApplicationErrorCategoryUnspecified,
		fmt.Sprintf("%s, attempt %d of %d: %s", d.Policy.Target, o.Progress.Attempts, d.Policy.MaxAttempts, o.Progress.Error))
}

// held sends a task back to Temporal without spending an attempt. The delivery's
// last real failure stays readable in the error.
func (d dispatch) held(why string, least time.Duration) error {
	message := fmt.Sprintf("%s, held back: %s", d.Policy.Target, why)
	if d.Progress.Error != "" {
		message += fmt.Sprintf("; attempt %d of %d: %s", d.Progress.Attempts, d.Policy.MaxAttempts, d.Progress.Error)
	}
	wait := fanout.Wait{Least: target.Duration(least), Why: "held back: " + why}
	return d.again(wait, jittered(wait), fanout.FailureHeld, temporal.ApplicationErrorCategoryBenign, message)
}

// again is the failure that Temporal retries after delay, which is the wait with
// its jitter. If the wait does not fit into what is left of max_age, the delivery is
// given up at once: Temporal would refuse the retry, and could not say why.
func (d dispatch) again(wait fanout.Wait, delay time.Duration, kind string, category temporal.ApplicationErrorCategory, message string) error {
	if !d.expires.IsZero() {
		left := time.Until(d.expires)
		if expired := wait.Expired(left, d.Policy.MaxAge); expired != "" {
			return fanout.GivenUp(event.ReasonExpired, d.Progress, expired)
		}
		if delay > left { // the jitter does not fit
			delay = time.Duration(wait.Least)
		}
	}
	return temporal.NewApplicationErrorWithOptions(message, kind, temporal.ApplicationErrorOptions{
		NextRetryDelay: max(delay, time.Millisecond),
		Details:        []any{d.Progress},
		Category:       category,
	})
}
