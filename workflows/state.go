package workflows

import (
	"strings"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/fanout"
)

// show makes the state of the deliveries visible in Temporal UI, CLI and clients: in the
// query deliveries and in the run's current details. It gets a pointer, because a rerun
// replaces the list once it has learned which deliveries it has to make.
func show(ctx workflow.Context, deliveries *[]*delivery) {
	statuses := func() ([]fanout.DeliveryStatus, error) {
		all := make([]fanout.DeliveryStatus, 0, len(*deliveries))
		for _, d := range *deliveries {
			all = append(all, d.status())
		}
		return all, nil
	}
	options := workflow.QueryHandlerOptions{Description: "How each delivery of this run stands."}
	if err := workflow.SetQueryHandlerWithOptions(ctx, fanout.QueryDeliveries, statuses, options); err != nil {
		workflow.GetLogger(ctx).Error("the query is not answered", "query", fanout.QueryDeliveries, "error", err)
	}
	// The details stay empty while every change is to delivered, because a run that
	// delivers at once is over before anybody could read them.
	detailed := false
	for _, d := range *deliveries {
		d.changed = func() {
			if detailed = detailed || d.state != fanout.StateDelivered; detailed {
				workflow.SetCurrentDetails(ctx, currentDetails(*deliveries))
			}
		}
	}
}

func (d *delivery) status() fanout.DeliveryStatus {
	return fanout.DeliveryStatus{
		Target: d.target, State: d.state, Reason: d.reason,
		Attempts: d.progress.Attempts, StatusCode: d.progress.StatusCode, Error: d.progress.Error,
	}
}

func (d *delivery) become(state fanout.State) {
	d.state = state
	d.changed()
}

// currentDetails returns a Markdown list with one line for each target.
func currentDetails(deliveries []*delivery) string {
	var text strings.Builder
	for _, d := range deliveries {
		line := d.target
		switch {
		case d.reason != "":
			line = d.verdict()
		case d.state == fanout.StateRetrying:
			line = d.summary() + "; activity " + fanout.DeliverActivityID(d.target) + " tells its attempts"
		}
		text.WriteString("- " + string(d.state) + ": " + line + "\n")
	}
	return text.String()
}
