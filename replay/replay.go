package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"genesys-fanout/fanout"

	"go.temporal.io/sdk/client"
	"golang.org/x/time/rate"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
)

const (
	// mostInFlight is how many runs may be waited for at once. At the default rate
	// of 20/s that lets a run take 12 s before it holds up the others. Each is one
	// long poll, of which a frontend of Temporal takes 1,200 for a namespace, those
	// of the workers too. A run takes some 50 KB here.
	mostInFlight = 256

	// mostStarting is how many starts may be under way at once. At 10 ms each that
	// makes 800 a second, and only these hold a message, of 1 MiB at most and in
	// about five forms: 40 MiB.
	mostStarting = 8
)

// Options say how to send.
type Options struct {
	Client           client.Client // with the workflows' DataConverter
	TaskQueue        string        // FANOUT_TASK_QUEUE
	SearchAttributes bool          // whether the namespace has those of the workflows
	Rate             float64       // events per second at most

	// Notify is told what a person should read, a line at a time.
	Notify func(line string)
}

// Counts say how far it came. They count deliveries.
type Counts struct {
	Deliveries  int // in all
	Sent        int // their run is started
	Delivered   int // their record is resolved
	FailedAgain int // a newer record has taken the older one's place
	Skipped     int // a run of their event was open
}

// Left are those whose record stays as it was.
func (c Counts) Left() int { return c.Deliveries - c.Delivered - c.FailedAgain - c.Skipped }

// Replay sends what was counted.
type Replay struct {
	plan    *Plan
	options Options
	outage  outage

	mu      sync.Mutex
	counts  Counts
	skipped records
}

// New makes a replay of the plan, which is used up by it; Run starts it.
func New(plan *Plan, options Options) *Replay {
	var mu sync.Mutex
	tell := options.Notify
	options.Notify = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		tell(line)
	}
	return &Replay{
		plan: plan, options: options, outage: outage{notify: options.Notify},
		counts: Counts{Deliveries: plan.Deliveries}, skipped: newRecords(plan.open.seed),
	}
}

// Counts may be asked while it runs.
func (r *Replay) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

func (r *Replay) count(change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
}

// Run sends the events, waits for what becomes of them, and returns. When ctx
// ends it starts no further run and waits for those that are started. The error
// is that of the tracker's directory; what became of the deliveries, Counts tell.
func (r *Replay) Run(ctx context.Context) error {
	err := r.send(ctx)
	if ctx.Err() != nil {
		err = nil // its end is no failure; Counts tell what is left
	}
	return errors.Join(err, r.lookAgain(context.WithoutCancel(ctx)))
}

// send starts the events and returns when all that it started have ended.
func (r *Replay) send(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	flight := make(chan struct{}, mostInFlight)
	starting := make(chan struct{}, mostStarting)
	limiter := rate.NewLimiter(rate.Limit(r.options.Rate), 1)
	superseded := func(n int) { r.count(func(c *Counts) { c.FailedAgain += n }) }
	// A pass may miss a file that is replaced meanwhile: the second looks for those.
	for range 2 {
		for e, err := range r.plan.pass(ctx, superseded) {
			if err != nil {
				return err
			}
			if !enter(ctx, flight) || !enter(ctx, starting) || limiter.Wait(ctx) != nil {
				return ctx.Err()
			}
			all.Go(func() {
				defer func() { <-flight }()
				r.carry(ctx, &e, func() { <-starting })
			})
		}
		if ctx.Err() != nil || len(r.plan.open.runs) == 0 {
			break
		}
	}
	if ctx.Err() == nil { // somebody else has resolved what is nowhere
		gone := len(r.plan.open.runs)
		r.count(func(c *Counts) { c.Delivered += gone })
	}
	return ctx.Err()
}

func enter(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// carry starts the run of an event, calls started, and waits for its end.
func (r *Replay) carry(ctx context.Context, e *Event, started func()) {
	run, err := r.start(ctx, e.input(r.plan.selection.Targets, r.options.SearchAttributes))
	e.record = deadletter.Record{} // its message is no longer needed
	started()
	switch {
	case errors.Is(err, errOpenRun):
		r.skip(e)
		return
	case ctx.Err() != nil && err != nil:
		return
	case err != nil:
		r.options.Notify(fmt.Sprintf("event %s: %v", event.Escape(e.ID), err))
		return
	}
	r.count(func(c *Counts) { c.Sent += len(e.Targets) })
	r.await(context.WithoutCancel(ctx), run)
	for i := range e.Targets {
		r.settle(e, i)
	}
}

func (r *Replay) settle(e *Event, i int) {
	became, err := e.outcome(r.plan.selection.Directory, i)
	switch {
	case err != nil:
		r.options.Notify(err.Error())
	case became == delivered:
		r.count(func(c *Counts) { c.Delivered++ })
	case became == failedAgain:
		r.count(func(c *Counts) { c.FailedAgain++ })
	default:
		r.options.Notify(fmt.Sprintf("event %s: its run ended, and the record of %s is as it was; workflow %s tells why",
			event.Escape(e.ID), e.Targets[i], fanout.WorkflowID(e.ID)))
	}
}

func (r *Replay) skip(e *Event) {
	r.options.Notify(fmt.Sprintf("event %s has an open run: skipped; workflow %s", event.Escape(e.ID), fanout.WorkflowID(e.ID)))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, name := range e.Targets {
		r.skipped.add(deadletter.Record{TargetName: name, EventID: e.ID, RunID: e.runs[i]})
	}
	r.counts.Skipped += len(e.Targets)
}

// lookAgain tells of the skipped deliveries what the open run has made of them
// meanwhile. Nothing is in flight any more.
func (r *Replay) lookAgain(ctx context.Context) error {
	if len(r.skipped.runs) == 0 {
		return nil
	}
	for record, err := range r.plan.selection.Directory.Select(ctx, r.plan.selection.Filter.Lasting()) {
		var damaged *deadletter.DamagedError
		if errors.As(err, &damaged) {
			r.skipped.removeDamaged(damaged.File)
			continue
		}
		if err != nil {
			return err
		}
		known, same := r.skipped.find(record)
		r.skipped.remove(record)
		if known && !same {
			r.count(func(c *Counts) { c.Skipped--; c.FailedAgain++ })
		}
	}
	resolved := len(r.skipped.runs)
	r.count(func(c *Counts) { c.Skipped -= resolved; c.Delivered += resolved })
	return nil
}
