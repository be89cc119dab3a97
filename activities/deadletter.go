package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"

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

	// Holder has the record of an earlier run, which the new one replaces: so a
	// delivery has one open record at most.
	Holder
}

// Recorded is the result of RecordDeadLetter.
type Recorded struct {
	Tracker string `json:"tracker,omitempty"` // the identity of the one that has the record
}

// RecordDeadLetter keeps a delivery that was given up. It succeeds only once the
// tracker has it on disk, and may be repeated.
func (a *Activities) RecordDeadLetter(ctx context.Context, d DeadLetter) (Recorded, error) {
	run := activity.GetInfo(ctx).WorkflowExecution
	err := a.record(ctx, run, d)
	if !errors.Is(ctx.Err(), context.Canceled) { // else it says nothing about the tracker
		a.watch.wrote(run.RunID, d.Target, err)
	}
	if err != nil {
		return Recorded{}, err
	}
	return Recorded{Tracker: a.tracker.ID()}, nil
}

func (a *Activities) record(ctx context.Context, run workflow.Execution, d DeadLetter) error {
	if err := a.checkHolder(ctx, d.Target, d.Holder); err != nil {
		return err
	}
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

// Left is the detail of the failure DeadLettered, and of the cancellation of a run
// that leaves dead letters behind.
type Left struct {
	Trackers map[string]string `json:"trackers,omitempty"` // by target: the identity of the tracker that has its open record
}

// Rerun is the input of Outstanding.
type Rerun struct {
	Event   event.Event `json:"event,omitzero"` // absent: read from the run's history
	Targets []string    `json:"targets"`        // of the run

	// Settled is true if the runs before this one are known to have settled every
	// delivery, or if this run has looked at them already; else the run before this
	// one is looked at, and not Trackers.
	Settled  bool              `json:"settled,omitempty"`
	Trackers map[string]string `json:"trackers,omitempty"` // by target: the identity of the tracker that may have its open record
}

// Open is what a tracker has of an event.
type Open struct {
	// Settled is false if some delivery of the run before may have neither
	// arrived nor been recorded.
	Settled bool     `json:"settled"`
	Targets []string `json:"targets,omitempty"` // with an open record in this tracker, sorted
	Tracker string   `json:"tracker,omitempty"` // its identity

	// Elsewhere are the identities of the trackers, by target, that this one does
	// not answer for: a worker that has them is asked next.
	Elsewhere map[string]string `json:"elsewhere,omitempty"`
}

// Outstanding returns which deliveries of an event have an open record, for a run
// that is not the event's first. If all records are in other trackers than that of
// this worker, it fails with OtherTracker.
func (a *Activities) Outstanding(ctx context.Context, r Rerun) (Open, error) {
	run := activity.GetInfo(ctx).WorkflowExecution
	before := Before{Settled: r.Settled, Trackers: r.Trackers}
	if !r.Settled {
		var err error
		if before, err = a.runs.Before(ctx, run.ID, run.RunID); err != nil {
			return Open{}, err
		}
	}
	elsewhere, err := a.elsewhere(ctx, before.Trackers)
	if err != nil {
		return Open{}, err
	}
	id, err := a.eventID(ctx, r.Event)
	if err != nil {
		return Open{}, err
	}
	targets, err := a.tracker.OpenTargets(ctx, id, r.Targets...)
	if err != nil {
		return Open{}, err
	}
	targets = slices.DeleteFunc(targets, func(target string) bool { return elsewhere[target] != "" })
	return Open{Settled: before.Settled, Targets: targets, Tracker: a.tracker.ID(), Elsewhere: elsewhere}, nil
}

// elsewhere returns those of some trackers, by target, that are not this worker's.
// If none is, it fails with OtherTracker.
func (a *Activities) elsewhere(ctx context.Context, trackers map[string]string) (map[string]string, error) {
	elsewhere := make(map[string]string)
	for target, id := range trackers {
		held, err := a.tracker.Holds(ctx, id)
		if err != nil {
			return nil, err
		}
		if !held {
			elsewhere[target] = id
		}
	}
	if len(elsewhere) > 0 && len(elsewhere) == len(trackers) {
		return nil, a.otherTracker(ctx, elsewhere)
	}
	return elsewhere, nil
}

// Resolution is the input of ResolveDeadLetter.
type Resolution struct {
	Target string      `json:"target"`
	Event  event.Event `json:"event,omitzero"` // absent: read from the run's history
	At     time.Time   `json:"at"`             // when it was delivered after all
	Holder             // has the record
}

// Resolved is what became of an open record.
type Resolved struct {
	Damaged string `json:"damaged,omitempty"` // why the record stays open: its file holds none
	Tracker string `json:"tracker,omitempty"` // the identity of the one that has the damaged file
}

// ResolveDeadLetter closes the record of a delivery that succeeded after all,
// where there is an open one. It may be repeated.
func (a *Activities) ResolveDeadLetter(ctx context.Context, r Resolution) (Resolved, error) {
	if err := a.checkHolder(ctx, r.Target, r.Holder); err != nil {
		return Resolved{}, err
	}
	id, err := a.eventID(ctx, r.Event)
	if err != nil {
		return Resolved{}, err
	}
	err = a.tracker.Resolve(ctx, r.Target, id, runID(ctx), r.At)
	var damaged *deadletter.DamagedError
	if errors.As(err, &damaged) { // no further try would mend it
		a.log.Error("a dead letter that was delivered cannot be resolved", "target", r.Target, "event", event.Escape(id), "error", err)
		return Resolved{Damaged: err.Error(), Tracker: a.tracker.ID()}, nil
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
