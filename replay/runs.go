package replay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"genesys-fanout/fanout"
)

const (
	// askInterval is how long a run is open before Temporal is asked about it, and
	// between two questions if few are open. A run that delivers at once has
	// ended by then, and is never asked about.
	askInterval = 5 * time.Second

	// askRate bounds the questions a second, far below the 2,400 requests that a
	// frontend of Temporal takes for a namespace.
	askRate = 50

	mostAsking = 8               // questions at once
	askTimeout = 5 * time.Second // of one question

	// endFor is how long a run may take to end after its last record has moved: a
	// workflow task that is lost then comes back after 10 s.
	endFor   = 15 * time.Second
	endPause = 50 * time.Millisecond // between two questions whether it has ended
)

// run is a run of an event whose deliveries are awaited.
type run struct {
	workflowID, id string

	pending int       // deliveries without an outcome
	settled time.Time // when the last of them had its outcome
	ask     time.Time // when Temporal is asked whether the run is open
	ended   string    // how it ended, in words; empty as long as it is open, as far as is known
}

func newRun(workflowID, id string) *run {
	return &run{workflowID: workflowID, id: id, ask: time.Now().Add(askInterval)}
}

// event returns the id of the run's event, escaped.
func (r *run) event() string { return strings.TrimPrefix(r.workflowID, fanout.WorkflowID("")) }

// runs asks Temporal which runs have ended.
type runs struct {
	client  client.Client
	limiter *rate.Limiter
	away    waiter // for Temporal
}

func newRuns(c client.Client, temporal *outage) runs {
	return runs{client: c, limiter: rate.NewLimiter(askRate, askRate), away: waiter{outage: temporal}}
}

// ask notes which runs of the awaited deliveries have ended. It asks about those
// whose turn it is, so that all have had theirs before one has it again.
func (r *runs) ask(ctx context.Context, awaited []awaited) {
	due := r.due(awaited)
	if len(due) == 0 {
		return
	}
	if err := r.askAll(ctx, due); err != nil {
		r.away.failed("to say how runs ended", err)
		return
	}
	r.away.answered()
}

// awaitEnds waits until runs have ended whose deliveries all have their outcome,
// because a replay that follows would skip an event with an open run. It waits no
// longer than a run takes for that, and not for a Temporal that is away.
func (r *runs) awaitEnds(ctx context.Context, ending []*run) {
	ctx, cancel := context.WithTimeout(ctx, endFor)
	defer cancel()
	for ctx.Err() == nil {
		ending = slices.DeleteFunc(ending, func(r *run) bool { return r.ended != "" })
		if len(ending) == 0 {
			return
		}
		_ = r.askAll(ctx, ending) // asked again until the time is over
		select {
		case <-time.After(endPause):
		case <-ctx.Done():
		}
	}
}

// askAll asks about each of the runs. It ends with the first error, which is that
// of a Temporal that does not answer.
func (r *runs) askAll(ctx context.Context, all []*run) error {
	questions, ctx := errgroup.WithContext(ctx)
	questions.SetLimit(mostAsking)
	for _, one := range all {
		questions.Go(func() (err error) {
			one.ended, err = r.ending(ctx, one)
			return err
		})
	}
	return questions.Wait()
}

// due returns the runs whose turn it is, and gives each its next one.
func (r *runs) due(awaited []awaited) []*run {
	now := time.Now()
	next := now.Add(max(askInterval, time.Duration(len(awaited))*time.Second/askRate))
	var due []*run
	for _, a := range awaited {
		if a.run.ended != "" || now.Before(a.run.ask) {
			continue
		}
		if !r.limiter.Allow() {
			break
		}
		a.run.ask = next
		due = append(due, a.run)
	}
	return due
}

// ending returns how a run has ended, empty if it is open. The error is that of
// a Temporal that does not answer.
func (r *runs) ending(ctx context.Context, run *run) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := r.client.DescribeWorkflowExecution(ctx, run.workflowID, run.id)
	var gone *serviceerror.NotFound
	switch {
	case errors.As(err, &gone):
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
