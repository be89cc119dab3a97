package activities

import (
	"context"
	"errors"
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
	a.log.Warn("dead letter", "target", record.TargetName, "event", record.EscapedID(), "reason", record.Reason,
		"status", record.StatusCode, "attempts", record.Attempts)
	return nil
}

// DeadLettered is the type of the failure with which a run ends that leaves dead
// letters behind.
const DeadLettered = "DeadLettered"

// Rerun is the input of Outstanding.
type Rerun struct {
	Event   event.Event `json:"event,omitzero"` // absent: read from the run's history
	Targets []string    `json:"targets"`        // of the run

	// Settled is true where the runs before this one are known to have settled
	// every delivery; else the run before this one is looked at.
	Settled bool `json:"settled,omitempty"`
}

// Open is what the tracker has of an event.
type Open struct {
	// Settled is false where some delivery of the run before may have neither
	// arrived nor been recorded.
	Settled bool     `json:"settled"`
	Targets []string `json:"targets,omitempty"` // with an open record, sorted
}

// Outstanding tells a run that is not the first of its event what is left to do.
func (a *Activities) Outstanding(ctx context.Context, r Rerun) (Open, error) {
	run := activity.GetInfo(ctx).WorkflowExecution
	settled := r.Settled
	if !settled {
		var err error
		if settled, err = a.runs.SettledBefore(ctx, run.ID, run.RunID); err != nil {
			return Open{}, err
		}
	}
	id, err := a.eventID(ctx, r.Event)
	if err != nil {
		return Open{}, err
	}
	targets, err := a.tracker.OpenTargets(ctx, id, r.Targets...)
	return Open{Settled: settled, Targets: targets}, err
}

// Resolution is the input of ResolveDeadLetter.
type Resolution struct {
	Target string      `json:"target"`
	Event  event.Event `json:"event,omitzero"` // absent: read from the run's history
	At     time.Time   `json:"at"`             // when it was delivered after all
}

// Resolved is what became of an open record.
type Resolved struct {
	Damaged string `json:"damaged,omitempty"` // why the record stays open: its file holds none
}

// ResolveDeadLetter closes the record of a delivery that succeeded after all,
// where there is an open one. It may be repeated.
func (a *Activities) ResolveDeadLetter(ctx context.Context, r Resolution) (Resolved, error) {
	id, err := a.eventID(ctx, r.Event)
	if err != nil {
		return Resolved{}, err
	}
	err = a.tracker.Resolve(ctx, r.Target, id, runID(ctx), r.At)
	var damaged *deadletter.DamagedError
	if errors.As(err, &damaged) { // no further try would mend it
		a.log.Error("a dead letter that was delivered cannot be resolved", "target", r.Target, "event", event.Escape(id), "error", err)
		return Resolved{Damaged: err.Error()}, nil
	}
	return Resolved{}, err
}

func (a *Activities) eventID(ctx context.Context, carried event.Event) (string, error) {
	if carried.ID != "" {
		return carried.ID, nil
	}
	run := activity.GetInfo(ctx).WorkflowExecution
	message, err := a.messages.complete(ctx, Message{Event: carried}, run.ID, run.RunID)
	return message.Event.ID, err
}
