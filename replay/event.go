package replay

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/target"
)

// Event is an event that is sent again, in one run, to the targets of its records.
type Event struct {
	ID      string
	Type    string
	Targets []string

	recordedBy []string          // the run that wrote the record of each of Targets
	record     deadletter.Record // the first of the records
}

// Each yields the events that the plan would send, and sends nothing. The plan cannot be
// used again.
func (p *Plan) Each(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range p.takeEvents(ctx, func(string) {}) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// takeEvents yields the events of the unsent records that are still open, and removes those
// records from the plan. It calls superseded for each record that was counted and that
// another run has replaced since.
func (p *Plan) takeEvents(ctx context.Context, superseded func(target string)) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for record, err := range p.selection.Tracker.Select(ctx, p.selection.Filter.WithoutFailure()) {
			if damaged, ok := errors.AsType[*deadletter.DamagedError](err); ok {
				p.unsent.removeFile(damaged.File) // it was damaged after it was counted
				continue
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			switch found, sameRun := p.unsent.find(record); {
			case !found:
				continue
			case !sameRun:
				p.unsent.remove(record)
				superseded(record.TargetName)
				continue
			}
			e, err := p.takeEvent(ctx, record)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// takeEvent removes the record from the plan, with all other records of its event that have
// the same message. A message that somebody has edited is sent by a run of its own.
func (p *Plan) takeEvent(ctx context.Context, first deadletter.Record) (Event, error) {
	e := Event{ID: first.EventID, Type: first.EventType, record: first}
	p.take(&e, first)
	names, err := p.selection.Tracker.OpenTargets(ctx, first.EventID)
	if err != nil {
		return Event{}, err
	}
	message := first.Message()
	for _, name := range names {
		if name == first.TargetName {
			continue
		}
		record, err := p.selection.Tracker.Get(name, first.EventID)
		if err != nil { // closed or damaged since; takeEvents comes to it later
			continue
		}
		if _, sameRun := p.unsent.find(record); sameRun && bytes.Equal(record.Message(), message) {
			p.take(&e, record)
		}
	}
	return e, nil
}

// take moves a record from the plan to an event.
func (p *Plan) take(e *Event, r deadletter.Record) {
	e.Targets = append(e.Targets, r.TargetName)
	e.recordedBy = append(e.recordedBy, r.RunID)
	p.unsent.remove(r)
}

// input returns the input of the event's run: the message as it was received, with the
// policies that targets.yaml has now.
func (e *Event) input(targets *target.Set, searchAttributes bool) fanout.Input {
	message := e.record.Message()
	decoded, _ := event.Decode(message) // fields that cannot be decoded stay empty
	decoded.ID, decoded.Type, decoded.InteractionID = e.record.EventID, e.record.EventType, e.record.InteractionID
	in := fanout.Input{
		Message:          event.Message{Event: decoded, Body: message, Source: e.record.Source},
		SearchAttributes: searchAttributes,
	}
	for _, name := range e.Targets {
		if t, ok := targets.Get(name); ok {
			in.Targets = append(in.Targets, t.Policy)
		}
	}
	return in
}
