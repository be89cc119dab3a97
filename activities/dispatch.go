package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/deadletter"
	"genesys-fanout/target"
)

// The types of those failures of Deliver that Temporal retries. The others are the
// reasons of package deadletter, and end the delivery.
const (
	failedAttempt = "retry"
	heldBack      = "held"
)

// dispatch is a delivery as one task of the retry lane has it.
type dispatch struct {
	Delivery
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
func (d dispatch) failure(o Outcome) error {
	switch {
	case o.Verdict == Delivered:
		return nil
	case o.Verdict == Rejected:
		return GivenUp(deadletter.Rejected, o.Progress, "")
	case o.Verdict == Held:
		d.Progress = o.Progress
		return d.held("the target does not answer", max(firstProbe, time.Until(o.NotBefore)))
	case o.Progress.Attempts >= d.Policy.MaxAttempts:
		return GivenUp(deadletter.Exhausted, o.Progress, "")
	}
	d.Progress = o.Progress
	return d.again(o.Wait, time.Until(o.NotBefore), failedAttempt, temporal.ApplicationErrorCategoryUnspecified,
		fmt.Sprintf("%s, attempt %d of %d: %s", d.Policy.Target, o.Progress.Attempts, d.Policy.MaxAttempts, o.Progress.Error))
}

// held sends a task back to Temporal without spending an attempt. The delivery's
// last real failure stays readable in the error.
func (d dispatch) held(why string, least time.Duration) error {
	message := fmt.Sprintf("%s, held back: %s", d.Policy.Target, why)
	if d.Progress.Error != "" {
		message += fmt.Sprintf("; attempt %d of %d: %s", d.Progress.Attempts, d.Policy.MaxAttempts, d.Progress.Error)
	}
	wait := Wait{target.Duration(least), "held back: " + why}
	return d.again(wait, wait.jittered(), heldBack, temporal.ApplicationErrorCategoryBenign, message)
}

// again is the failure that Temporal retries after delay, which is the wait with
// its jitter. If the wait does not fit into what is left of max_age, the delivery is
// given up at once: Temporal would refuse the retry, and could not say why.
func (d dispatch) again(wait Wait, delay time.Duration, kind string, category temporal.ApplicationErrorCategory, message string) error {
	if !d.expires.IsZero() {
		left := time.Until(d.expires)
		if expired := wait.Expired(left, d.Policy.MaxAge); expired != "" {
			return GivenUp(deadletter.Expired, d.Progress, expired)
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
