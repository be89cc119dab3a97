package workflows

import (
	"strings"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// answerQueries makes the run answer the query deliveries with the state of each delivery.
func (r *run) answerQueries(ctx workflow.Context) {
	statuses := func() ([]fanout.DeliveryStatus, error) {
		all := make([]fanout.DeliveryStatus, 0, len(r.deliveries))
		for _, d := range r.deliveries {
			all = append(all, d.status())
		}
		return all, nil
	}
	options := workflow.QueryHandlerOptions{Description: "The state of each delivery of this run."}
	if err := workflow.SetQueryHandlerWithOptions(ctx, fanout.QueryDeliveries, statuses, options); err != nil {
		workflow.GetLogger(ctx).Error("the run cannot answer the query", "query", fanout.QueryDeliveries, "error", err)
	}
}

// status returns the state of the delivery for the query.
func (d *delivery) status() fanout.DeliveryStatus {
	return fanout.DeliveryStatus{
		Target: d.target, State: d.state, Reason: d.reason,
		Attempts: d.progress.Attempts, StatusCode: d.progress.StatusCode, Error: d.progress.Error,
	}
}

// setState changes the state of a delivery. It also updates the run's current details, which
// Temporal UI shows. The details stay empty as long as each change is to StateDelivered, because a
// run whose first attempts all succeed ends before anybody could read them.
func (d *delivery) setState(ctx workflow.Context, state fanout.State) {
	d.state = state
	d.run.detailed = d.run.detailed || state != fanout.StateDelivered
	if d.run.detailed {
		workflow.SetCurrentDetails(ctx, d.run.currentDetails())
	}
}

// currentDetails returns a Markdown list with one line for each delivery.
func (r *run) currentDetails() string {
	var text strings.Builder
	for _, d := range r.deliveries {
		line := d.target
		switch {
		case d.reason != "":
			line = d.failureSummary()
		case d.state == fanout.StateRetrying:
			line = d.progressSummary() + "; activity " + fanout.DeliverActivityID(d.target) + " shows its attempts"
		}
		text.WriteString("- " + string(d.state) + ": " + line + "\n")
	}
	return text.String()
}
