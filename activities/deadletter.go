package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
)

// DeadLetter is the input of RecordDeadLetter.
type DeadLetter struct {
	Target   string            `json:"target"`
	Reason   deadletter.Reason `json:"reason"`
	Progress Progress          `json:"progress"`
	Event    event.Event       `json:"event,omitzero"` // absent: read from the run's history
	Source   event.Source      `json:"source"`
	Body     event.Body        `json:"body,omitzero"` // absent: read from the run's history
	NoBody   bool              `json:"no_body,omitempty"`
	At       time.Time         `json:"at"` // when the delivery was given up
}

// RecordDeadLetter keeps a delivery that was given up. It returns nil only once
// the tracker has it on disk, and may be repeated.
func (a *Activities) RecordDeadLetter(ctx context.Context, d DeadLetter) error {
	run := activity.GetInfo(ctx).WorkflowExecution
	if d.Event.ID == "" || len(d.Body) == 0 && !d.NoBody {
		message, err := a.messages.complete(ctx, Message{d.Event, d.Body}, run.ID, run.RunID)
		if err != nil {
			return err
		}
		d.Event, d.Body = message.Event, message.Body
	}
	record := deadletter.Record{
		EventID:       d.Event.ID,
		TargetName:    d.Target,
		Error:         d.Progress.Error,
		Reason:        d.Reason,
		StatusCode:    d.Progress.StatusCode,
		Attempts:      d.Progress.Attempts,
		Timestamp:     d.At,
		EventType:     d.Event.Type,
		InteractionID: d.Event.InteractionID,
		WorkflowID:    run.ID,
		RunID:         run.RunID,
		Source:        d.Source,
	}
	if !d.NoBody {
		deadletter.SetPayload(&record, d.Body)
	}
	if err := a.tracker.Record(ctx, record); err != nil {
		return err
	}
	a.metrics.deadLetter(record)
	a.log.Warn("dead letter", "target", record.TargetName, "event", event.Escape(record.EventID), "reason", record.Reason,
		"status", record.StatusCode, "attempts", record.Attempts)
	return nil
}
