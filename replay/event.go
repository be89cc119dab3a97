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

	runs   []string // that left the records, in the order of Targets
	record deadletter.Record
}

// Each yields the events that the plan would send, and sends nothing. It uses the
// plan up.
func (p *Plan) Each(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range p.pass(ctx, func(string) {}) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// pass takes the events out of the plan whose records it finds. It calls superseded
// for each record that was counted and that another run has replaced since.
func (p *Plan) pass(ctx context.Context, superseded func(target string)) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for record, err := range p.selection.Directory.Select(ctx, p.selection.Filter.WithoutFailure()) {
			if damaged, ok := errors.AsType[*deadletter.DamagedError](err); ok {
				p.open.removeDamaged(damaged.File) // it was damaged after it was counted
				continue
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			switch known, same := p.open.find(record); {
			case !known:
				continue
			case !same:
				p.open.remove(record)
				superseded(record.TargetName)
				continue
			}
			e, err := p.gather(ctx, record)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// gather takes all records of an event out of the plan that hold the same message.
// A message that somebody has changed is sent by a run of its own.
func (p *Plan) gather(ctx context.Context, first deadletter.Record) (Event, error) {
	e := Event{ID: first.EventID, Type: first.EventType, record: first}
	e.add(p, first)
	names, err := p.selection.Directory.OpenTargets(ctx, first.EventID)
	if err != nil {
		return Event{}, err
	}
	message := first.Message()
	for _, name := range names {
		if name == first.TargetName {
			continue
		}
		record, err := p.selection.Directory.Get(name, first.EventID)
		if err != nil { // resolved or damaged since; the pass sees it at its own turn
			continue
		}
		if _, same := p.open.find(record); same && bytes.Equal(record.Message(), message) {
			e.add(p, record)
		}
	}
	return e, nil
}

func (e *Event) add(p *Plan, r deadletter.Record) {
	e.Targets = append(e.Targets, r.TargetName)
	e.runs = append(e.runs, r.RunID)
	p.open.remove(r)
}

// input is what the run of the event begins with: the message as it was, under
// today's policies.
func (e *Event) input(targets *target.Set, searchAttributes bool) fanout.Input {
	message := e.record.Message()
	decoded, _ := event.Decode(message) // what it cannot tell is only not shown
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
