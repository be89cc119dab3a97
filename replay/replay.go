package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.temporal.io/sdk/client"
	"golang.org/x/time/rate"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/outage"
)

// maxStarts is how many starts may be in flight at once. At 10 ms each that makes 800 a second.
// Only a start in flight has its message in memory, of 1 MiB at most and in about five
// forms, so all together take 40 MiB.
const maxStarts = 8

// Options are the settings of a replay.
type Options struct {
	Client           client.Client // with the workflows' DataConverter
	TaskQueue        string        // FANOUT_TASK_QUEUE
	SearchAttributes bool          // whether the namespace has those of the workflows
	Rate             float64       // events per second at most

	// Notify gets lines for the user.
	Notify func(line string)
}

// Replay sends the records of a plan again.
type Replay struct {
	plan     *Plan
	options  Options
	temporal *outage.Outage
	outcomes outcomes

	mu      sync.Mutex
	counts  map[string]*Counts // by target
	skipped []pendingDelivery
}

// New returns a replay of the plan, which cannot be used again. Run starts it.
func New(plan *Plan, options Options) *Replay {
	var mu sync.Mutex
	notify := options.Notify
	options.Notify = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		notify(line)
	}
	r := &Replay{
		plan: plan, options: options, counts: make(map[string]*Counts),
		temporal: newOutage("Temporal", options.Notify),
	}
	for kind, n := range plan.Kinds {
		r.count(kind.Target, func(c *Counts) { c.Deliveries += n })
	}
	r.outcomes = outcomes{
		tracker: plan.selection.Tracker, runs: newRunMonitor(options.Client, r.temporal), hashRun: plan.unsent.hashRun,
		count: r.countOutcome, notify: options.Notify, waiter: newOutage("the tracker", options.Notify).Waiter(),
	}
	return r
}

// ByTarget returns the counts of each target. It may be called while the replay runs.
func (r *Replay) ByTarget() ByTarget {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(ByTarget, len(r.counts))
	for target, c := range r.counts {
		counts[target] = *c
	}
	return counts
}

// Counts returns the counts of all targets. It may be called while the replay runs.
func (r *Replay) Counts() Counts { return r.ByTarget().Sum() }

// count changes the counts of a target.
func (r *Replay) count(target string, change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[target] == nil {
		r.counts[target] = &Counts{}
	}
	change(r.counts[target])
}

func (r *Replay) countOutcome(target string, result outcome) {
	r.count(target, func(c *Counts) {
		switch result {
		case delivered:
			c.Delivered++
		case failedAgain:
			c.FailedAgain++
		}
	})
}

// Run sends the events, waits for the outcomes of their deliveries, and returns. When ctx
// ends, it starts no further run and waits for those that are started. An error means that
// the tracker's directory cannot be read; Counts returns the outcomes of the deliveries.
func (r *Replay) Run(ctx context.Context) error {
	allStarted := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { r.outcomes.watch(context.WithoutCancel(ctx), allStarted) })
	err := r.startAll(ctx)
	close(allStarted)
	watching.Wait()
	if ctx.Err() != nil {
		err = nil // a stop is not a failure; Counts shows the deliveries that are left
	}
	return errors.Join(err, r.recheckSkipped())
}

// startAll starts the runs of all events, and returns when no start is in flight any more.
func (r *Replay) startAll(ctx context.Context) error {
	var starts sync.WaitGroup
	defer starts.Wait()
	slots := make(chan struct{}, maxStarts)
	limiter := rate.NewLimiter(rate.Limit(r.options.Rate), 1)
	superseded := func(target string) { r.countOutcome(target, failedAgain) }
	// A listing may miss a file that is replaced meanwhile, so a second one follows.
	for range 2 {
		for e, err := range r.plan.takeEvents(ctx, superseded) {
			if err != nil {
				return err
			}
			if !acquireSlot(ctx, slots) || limiter.Wait(ctx) != nil {
				return ctx.Err()
			}
			starts.Go(func() {
				defer func() { <-slots }()
				r.startEvent(ctx, &e)
			})
		}
		if ctx.Err() != nil || len(r.plan.unsent.byName) == 0 {
			break
		}
	}
	if err := r.countClosedMeanwhile(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// countClosedMeanwhile counts the deliveries whose records were counted and were no longer
// open when their turn came. A record that no user has discarded was resolved: another run
// has delivered its event.
func (r *Replay) countClosedMeanwhile(ctx context.Context) error {
	left := r.plan.unsent
	if ctx.Err() != nil || len(left.byName) == 0 {
		return nil
	}
	for one, err := range r.plan.selection.Tracker.Closed(ctx, deadletter.Discarded) {
		if errors.As(err, new(*deadletter.DamagedError)) {
			continue // it may be a record of any run
		}
		if err != nil {
			return err
		}
		if _, sameRun := left.find(one.Record); sameRun {
			left.remove(one.Record)
			r.options.Notify(discardedLine(one.EscapedID(), one.TargetName))
		}
	}
	for _, mark := range left.byName {
		r.countOutcome(mark.target, delivered)
	}
	return nil
}

// acquireSlot returns false if ctx ends before a slot is free.
func acquireSlot(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// startEvent starts the run of an event and adds its deliveries to those whose outcome is
// awaited.
func (r *Replay) startEvent(ctx context.Context, e *Event) {
	run, err := r.start(ctx, e.input(r.plan.selection.Targets, r.options.SearchAttributes))
	switch {
	case errors.Is(err, errOpenRun):
		r.skip(e)
	case err != nil && ctx.Err() == nil:
		r.options.Notify(fmt.Sprintf("event %s was not sent: %v", event.Escape(e.ID), err))
	case err == nil:
		for _, target := range e.Targets {
			r.count(target, func(c *Counts) { c.Sent++ })
		}
		r.outcomes.add(r.outcomes.trackDeliveries(e, run))
	}
}

// skip counts the deliveries of an event that has an open run.
func (r *Replay) skip(e *Event) {
	workflowID := fanout.WorkflowID(e.ID)
	r.options.Notify(fmt.Sprintf("event %s has an open run: skipped; look at workflow %s in Temporal", event.Escape(e.ID), workflowID))
	for _, target := range e.Targets {
		r.count(target, func(c *Counts) { c.Skipped++ })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped = append(r.skipped, r.outcomes.trackDeliveries(e, &run{workflowID: workflowID})...)
}

// recheckSkipped counts the outcomes that the open runs of skipped events have reached
// meanwhile. It is called when no run of this replay is awaited any more.
func (r *Replay) recheckSkipped() error {
	for _, d := range r.skipped {
		result, err := r.outcomes.outcomeOf(&d)
		if err != nil {
			return err
		}
		if result != noOutcome {
			r.count(d.target, func(c *Counts) { c.Skipped-- })
			r.countOutcome(d.target, result)
		}
	}
	return nil
}
