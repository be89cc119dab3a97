package workflows

import (
	"strings"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/activities"
	"genesys-fanout/deadletter"
)

// State says where a delivery stands.
type State string

// The states of a delivery.
const (
	Waiting    State = "waiting"     // for its first attempt
	Retrying   State = "retrying"    // in the retry lane: activity deliver-<target> tells each attempt
	Recording  State = "recording"   // given up, and not in the tracker yet
	DeadLetter State = "dead letter" // given up, and in the tracker
	Resolving  State = "resolving"   // delivered, and the record of an earlier run not closed yet
	Delivered  State = "delivered"
)

// Status is what the query deliveries tells of one target.
type Status struct {
	Target string            `json:"target"`
	State  State             `json:"state"`
	Reason deadletter.Reason `json:"reason,omitempty"` // why it was given up

	// Requests sent and the last failure, as far as the run knows: while the state
	// is retrying, those before the retry lane.
	Attempts   int    `json:"attempts"`
	StatusCode int    `json:"status_code,omitempty"`
	Error      string `json:"error,omitempty"`
}

// show lets Temporal UI, CLI and clients see how the deliveries stand: by the
// query deliveries, and as the run's current details. A rerun may still learn
// which of them it has to make.
func show(ctx workflow.Context, deliveries *[]*delivery) {
	statuses := func() ([]Status, error) {
		all := make([]Status, 0, len(*deliveries))
		for _, d := range *deliveries {
			all = append(all, d.status())
		}
		return all, nil
	}
	options := workflow.QueryHandlerOptions{Description: "How each delivery of this run stands."}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryDeliveries, statuses, options); err != nil {
		workflow.GetLogger(ctx).Error("the query is not answered", "query", QueryDeliveries, "error", err)
	}
	// A run that delivers at once is over before anybody could read its details.
	detailed := false
	for _, d := range *deliveries {
		d.changed = func() {
			if detailed = detailed || d.state != Delivered; detailed {
				workflow.SetCurrentDetails(ctx, currentDetails(*deliveries))
			}
		}
	}
}

func (d *delivery) status() Status {
	return Status{
		Target: d.target, State: d.state, Reason: d.reason,
		Attempts: d.progress.Attempts, StatusCode: d.progress.StatusCode, Error: d.progress.Error,
	}
}

func (d *delivery) become(state State) {
	d.state = state
	d.changed()
}

// currentDetails is a list in Markdown, a line for each target.
func currentDetails(deliveries []*delivery) string {
	var text strings.Builder
	for _, d := range deliveries {
		line := d.target
		switch {
		case d.reason != "":
			line = d.verdict()
		case d.state == Retrying:
			line = d.summary() + "; activity " + activities.DeliverID(d.target) + " tells its attempts"
		}
		text.WriteString("- " + string(d.state) + ": " + line + "\n")
	}
	return text.String()
}
