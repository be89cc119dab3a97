package activities

import (
	"context"
	"errors"
	"slices"

	"go.temporal.io/sdk/workflow"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/history"
)

// RecordDeadLetter records a delivery that was given up. It returns when the record is durable.
// Repeating it changes nothing.
func (a *Activities) RecordDeadLetter(ctx context.Context, d fanout.RecordDeadLetterInput) (fanout.RecordDeadLetterResult, error) {
	run := runOf(ctx)
	endWrite := a.monitor.beginWrite(run.RunID, d.Target)
	defer endWrite()
	err := a.record(ctx, run, d)
	if !errors.Is(ctx.Err(), context.Canceled) { // otherwise err says nothing about the tracker
		a.monitor.recordWrite(run.RunID, d.Target, err)
	}
	if err != nil {
		return fanout.RecordDeadLetterResult{}, err
	}
	return fanout.RecordDeadLetterResult{Tracker: a.tracker.ID()}, nil
}

func (a *Activities) record(ctx context.Context, run workflow.Execution, d fanout.RecordDeadLetterInput) error {
	if err := a.checkRecordLocation(ctx, d.Target, d.RecordLocation); err != nil {
		return err
	}
	if d.Event.ID == "" || len(d.Body) == 0 && !d.NoBody {
		message, err := a.messages.complete(ctx, d.Message, run.ID, run.RunID)
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
	a.metrics.countDeadLetter(record)
	a.log.Warn("dead letter", "target", record.TargetName, "event", record.EscapedID(), "reason", record.Reason,
		"status", record.StatusCode, "attempts", record.Attempts)
	return nil
}

// Outstanding returns which deliveries of an event have an open record. A run that is not the
// first of its event calls it. If all records are in other trackers than that of this worker, it
// fails with FailureOtherTracker.
func (a *Activities) Outstanding(ctx context.Context, r fanout.OutstandingInput) (fanout.OutstandingResult, error) {
	run := runOf(ctx)
	previous := history.Ending{Settled: r.TrackersKnown, Trackers: r.Trackers}
	if !r.TrackersKnown {
		var err error
		if previous, err = a.runs.PreviousEnding(ctx, run.ID, run.RunID); err != nil {
			return fanout.OutstandingResult{}, err
		}
	}
	elsewhere, err := a.trackersElsewhere(ctx, previous.Trackers)
	if err != nil {
		return fanout.OutstandingResult{}, err
	}
	id, err := a.eventID(ctx, r.Event)
	if err != nil {
		return fanout.OutstandingResult{}, err
	}
	targets, err := a.tracker.OpenTargets(ctx, id, r.Targets...)
	if err != nil {
		return fanout.OutstandingResult{}, err
	}
	targets = slices.DeleteFunc(targets, func(target string) bool { return elsewhere[target] != "" })
	return fanout.OutstandingResult{Settled: previous.Settled, Targets: targets, Tracker: a.tracker.ID(), Elsewhere: elsewhere}, nil
}

// trackersElsewhere returns those of the trackers whose records this worker does not have.
// trackers maps each target to the identity of its tracker. If this worker has the records of none
// of them, trackersElsewhere fails with FailureOtherTracker.
func (a *Activities) trackersElsewhere(ctx context.Context, trackers map[string]string) (map[string]string, error) {
	elsewhere := make(map[string]string)
	for target, id := range trackers {
		here, err := a.tracker.HasRecordsOf(ctx, id)
		if err != nil {
			return nil, err
		}
		if !here {
			elsewhere[target] = id
		}
	}
	if len(elsewhere) > 0 && len(elsewhere) == len(trackers) {
		return nil, a.otherTrackerFailure(ctx, elsewhere)
	}
	return elsewhere, nil
}

// ResolveDeadLetter closes the open record of a delivery that has succeeded. If there is none, it
// does nothing. Repeating it changes nothing.
func (a *Activities) ResolveDeadLetter(ctx context.Context, r fanout.ResolveDeadLetterInput) (fanout.ResolveDeadLetterResult, error) {
	if err := a.checkRecordLocation(ctx, r.Target, r.RecordLocation); err != nil {
		return fanout.ResolveDeadLetterResult{}, err
	}
	id, err := a.eventID(ctx, r.Event)
	if err != nil {
		return fanout.ResolveDeadLetterResult{}, err
	}
	err = a.tracker.Resolve(ctx, r.Target, id, runOf(ctx).RunID, r.At)
	if _, ok := errors.AsType[*deadletter.DamagedError](err); ok { // a retry would fail too
		a.log.Error("the event was delivered, but its dead letter cannot be resolved, because its file is damaged; repair the file or move it away", "target", r.Target, "event", event.Escape(id), "error", err)
		return fanout.ResolveDeadLetterResult{Damaged: err.Error(), Tracker: a.tracker.ID()}, nil
	}
	return fanout.ResolveDeadLetterResult{}, err
}

// eventID returns the id of the event that an activity's input carries. If the input carries none,
// eventID reads it from the run's history.
func (a *Activities) eventID(ctx context.Context, carried event.Event) (string, error) {
	if carried.ID != "" {
		return carried.ID, nil
	}
	run := runOf(ctx)
	message, err := a.messages.complete(ctx, event.Message{Event: carried}, run.ID, run.RunID)
	return message.Event.ID, err
}
