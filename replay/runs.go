package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/outage"
)

const (
	// describeInterval is the age of a run at which Temporal is asked about it for the
	// first time, and the pause between two requests about one run if few are open. A run
	// that delivers at once has ended by then, so that Temporal is never asked about it.
	describeInterval = 5 * time.Second

	// describeRate is the limit of requests a second. It is far below the 2,400 requests a
	// second that a frontend of Temporal accepts for a namespace.
	describeRate = 50

	maxDescribes    = 8               // requests in flight
	describeTimeout = 5 * time.Second // of one request

	// endTimeout is how long a run may take to end after its last record was closed or
	// replaced. A workflow task that is lost then comes back after 10 s.
	endTimeout      = 15 * time.Second
	endPollInterval = 50 * time.Millisecond
)

// run is a run of an event that has deliveries without an outcome.
type run struct {
	workflowID, id string

	undecided    int       // deliveries without an outcome
	completed    time.Time // when the last delivery had its outcome
	nextDescribe time.Time // when Temporal is asked again whether the run is open
	ended        string    // how the run ended, in words; empty if it is not known to have ended
}

func newRun(workflowID, id string) *run {
	return &run{workflowID: workflowID, id: id, nextDescribe: time.Now().Add(describeInterval)}
}

// event returns the escaped id of the run's event.
func (r *run) event() string { return strings.TrimPrefix(r.workflowID, fanout.WorkflowID("")) }

// runMonitor asks Temporal which runs have ended.
type runMonitor struct {
	client  client.Client
	limiter *rate.Limiter
	waiter  *outage.Waiter // for Temporal
}

func newRunMonitor(c client.Client, temporal *outage.Outage) runMonitor {
	return runMonitor{client: c, limiter: rate.NewLimiter(describeRate, describeRate), waiter: temporal.Waiter()}
}

// updateDue updates those runs of the deliveries that are due. It takes them in turn, so
// that no run is asked about twice before all others were asked about once.
func (m *runMonitor) updateDue(ctx context.Context, deliveries []pendingDelivery) {
	due := m.due(deliveries)
	if len(due) == 0 {
		return
	}
	if err := m.update(ctx, due); err != nil {
		m.waiter.Failed(fmt.Errorf("read how runs ended: %w", err))
		return
	}
	m.waiter.Done(nil)
}

// awaitEnds waits until runs have ended whose deliveries all have an outcome, because a replay
// that follows would skip an event whose run is still open. It waits for endTimeout at most,
// also if Temporal does not answer.
func (m *runMonitor) awaitEnds(ctx context.Context, all []*run) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	for ctx.Err() == nil {
		all = slices.DeleteFunc(all, func(r *run) bool { return r.ended != "" })
		if len(all) == 0 {
			return
		}
		_ = m.update(ctx, all) // repeated until the time is over
		select {
		case <-time.After(endPollInterval):
		case <-ctx.Done():
		}
	}
}

// update asks Temporal about each of the runs. It ends with the first error, which means
// that Temporal does not answer.
func (m *runMonitor) update(ctx context.Context, all []*run) error {
	requests, ctx := errgroup.WithContext(ctx)
	requests.SetLimit(maxDescribes)
	for _, one := range all {
		requests.Go(func() (err error) {
			one.ended, err = m.describe(ctx, one)
			return err
		})
	}
	return requests.Wait()
}

// due returns the runs that are due, and sets when each is due again.
func (m *runMonitor) due(deliveries []pendingDelivery) []*run {
	now := time.Now()
	next := now.Add(max(describeInterval, time.Duration(len(deliveries))*time.Second/describeRate))
	var due []*run
	for _, d := range deliveries {
		if d.run.ended != "" || now.Before(d.run.nextDescribe) {
			continue
		}
		if !m.limiter.Allow() {
			break
		}
		d.run.nextDescribe = next
		due = append(due, d.run)
	}
	return due
}

// describe returns how a run ended, or an empty string if it is open. An error means that
// Temporal does not answer.
func (m *runMonitor) describe(ctx context.Context, run *run) (ended string, err error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	answer, err := m.client.DescribeWorkflowExecution(ctx, run.workflowID, run.id)
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return "is no longer in Temporal", nil
	case err != nil:
		return "", err
	}
	switch status := answer.GetWorkflowExecutionInfo().GetStatus(); status {
	case enums.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED, enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_PAUSED:
		return "", nil
	default:
		return "ended as " + status.String(), nil
	}
}
