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
)

// mostStarting is how many starts may be under way at once. At 10 ms each that
// makes 800 a second, and only these hold a message, of 1 MiB at most and in
// about five forms: 40 MiB.
const mostStarting = 8

// Options say how to send.
type Options struct {
	Client           client.Client // with the workflows' DataConverter
	TaskQueue        string        // FANOUT_TASK_QUEUE
	SearchAttributes bool          // whether the namespace has those of the workflows
	Rate             float64       // events per second at most

	// Notify gets the lines that a person should read.
	Notify func(line string)
}

// Replay sends the records of a plan again.
type Replay struct {
	plan     *Plan
	options  Options
	temporal outage
	tracker  outage
	outcomes outcomes

	mu      sync.Mutex
	counts  map[string]*Counts // by target
	skipped []awaited
}

// New returns a replay that uses the plan up; Run starts it.
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
		temporal: outage{of: "Temporal", notify: options.Notify},
		tracker:  outage{of: "the tracker", notify: options.Notify},
	}
	for kind, n := range plan.Kinds {
		r.count(kind.Target, func(c *Counts) { c.Deliveries += n })
	}
	r.outcomes = outcomes{
		tracker: plan.selection.Directory, runs: newRuns(options.Client, &r.temporal), hash: plan.open.run,
		settle: r.settle, notify: options.Notify, away: waiter{outage: &r.tracker},
	}
	return r
}

// ByTarget may be called while the replay runs.
func (r *Replay) ByTarget() ByTarget {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(ByTarget, len(r.counts))
	for target, c := range r.counts {
		counts[target] = *c
	}
	return counts
}

// Counts may be called while the replay runs.
func (r *Replay) Counts() Counts { return r.ByTarget().Sum() }

func (r *Replay) count(target string, change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[target] == nil {
		r.counts[target] = &Counts{}
	}
	change(r.counts[target])
}

func (r *Replay) settle(target string, became outcome) {
	r.count(target, func(c *Counts) {
		switch became {
		case delivered:
			c.Delivered++
		case failedAgain:
			c.FailedAgain++
		}
	})
}

// Run sends the events, waits for what becomes of them, and returns. When ctx
// ends it starts no further run and waits for those that are started. The error
// is that of the tracker's directory; Counts say what became of the deliveries.
func (r *Replay) Run(ctx context.Context) error {
	started := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { r.outcomes.follow(context.WithoutCancel(ctx), started) })
	err := r.send(ctx)
	close(started)
	following.Wait()
	if ctx.Err() != nil {
		err = nil // its end is no failure; Counts say what is left
	}
	return errors.Join(err, r.lookAgain())
}

// send starts the events and returns when no start is under way any more.
func (r *Replay) send(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, mostStarting)
	limiter := rate.NewLimiter(rate.Limit(r.options.Rate), 1)
	superseded := func(target string) { r.settle(target, failedAgain) }
	// A pass may miss a file that is replaced meanwhile: the second looks for those.
	for range 2 {
		for e, err := range r.plan.pass(ctx, superseded) {
			if err != nil {
				return err
			}
			if !enter(ctx, places) || limiter.Wait(ctx) != nil {
				return ctx.Err()
			}
			all.Go(func() {
				defer func() { <-places }()
				r.begin(ctx, &e)
			})
		}
		if ctx.Err() != nil || len(r.plan.open.left) == 0 {
			break
		}
	}
	if err := r.settleGone(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// settleGone settles the deliveries whose records were counted and are no longer
// open. If nobody has discarded them, somebody else has delivered them.
func (r *Replay) settleGone(ctx context.Context) error {
	gone := r.plan.open
	if ctx.Err() != nil || len(gone.left) == 0 {
		return nil
	}
	for one, err := range r.plan.selection.Directory.Closed(ctx, deadletter.Discarded) {
		if errors.As(err, new(*deadletter.DamagedError)) {
			continue // it says nothing
		}
		if err != nil {
			return err
		}
		if _, same := gone.find(one.Record); same {
			gone.remove(one.Record)
			r.options.Notify(fmt.Sprintf("event %s: the record of %s was discarded meanwhile; the delivery counts as left", one.EscapedID(), one.TargetName))
		}
	}
	for _, record := range gone.left {
		r.settle(record.target, delivered)
	}
	return nil
}

func enter(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// begin starts the run of an event and leaves its outcome to be learned.
func (r *Replay) begin(ctx context.Context, e *Event) {
	run, err := r.start(ctx, e.input(r.plan.selection.Targets, r.options.SearchAttributes))
	switch {
	case errors.Is(err, errOpenRun):
		r.skip(e)
	case err != nil && ctx.Err() == nil:
		r.options.Notify(fmt.Sprintf("event %s: %v", event.Escape(e.ID), err))
	case err == nil:
		for _, target := range e.Targets {
			r.count(target, func(c *Counts) { c.Sent++ })
		}
		r.outcomes.await(r.outcomes.deliveries(e, run))
	}
}

func (r *Replay) skip(e *Event) {
	r.options.Notify(fmt.Sprintf("event %s has an open run: skipped; workflow %s", event.Escape(e.ID), fanout.WorkflowID(e.ID)))
	for _, target := range e.Targets {
		r.count(target, func(c *Counts) { c.Skipped++ })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped = append(r.skipped, r.outcomes.deliveries(e, &run{workflowID: fanout.WorkflowID(e.ID)})...)
}

// lookAgain counts what the open runs have made of the skipped deliveries
// meanwhile. No run of this replay is awaited any more.
func (r *Replay) lookAgain() error {
	for _, a := range r.skipped {
		became, err := r.outcomes.became(&a)
		if err != nil {
			return err
		}
		if became != pending {
			r.count(a.target, func(c *Counts) { c.Skipped-- })
			r.settle(a.target, became)
		}
	}
	return nil
}
