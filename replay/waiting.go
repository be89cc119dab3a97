package replay

import (
	"context"
	"fmt"
	"time"

	"genesys-fanout/internal/outage"
)

// retryInterval is the pause between two requests while Temporal does not answer.
const retryInterval = time.Second

// newOutage returns the outage of a service that a replay waits for. All that wait for the
// same service share it, so that its user reads one line every 30 s.
func newOutage(service string, notify func(line string)) *outage.Outage {
	return outage.New(
		func(r outage.Report) {
			lasts := ""
			if r.Age > 0 {
				lasts = " for " + r.Age.String()
			}
			notify(fmt.Sprintf("waiting for %s%s: %v", service, lasts, r.Err))
		},
		func(r outage.Report) {
			if r.Err != nil {
				notify(fmt.Sprintf("stopped waiting for %s, after %s", service, r.Age))
				return
			}
			notify(fmt.Sprintf("%s answers again, after %s", service, r.Age))
		})
}

// untilAnswered sends a request to Temporal once a second until Temporal answers it or ctx
// ends, and returns the error of the answer or of ctx. request returns answered = false if
// Temporal does not answer or is busy. Its argument is false for the first request alone.
func (r *Replay) untilAnswered(ctx context.Context, request func(repeated bool) (answered bool, err error)) error {
	waiter := r.temporal.Waiter()
	defer func() { waiter.Done(ctx.Err()) }()
	for ctx.Err() == nil {
		answered, err := request(waiter.Waiting())
		if answered {
			waiter.Done(nil)
			return err
		}
		waiter.Failed(err)
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}
