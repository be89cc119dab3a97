// Package preflight tries every connection of a process before it runs: one line
// for each, with the cure where something refuses.
//
// The package refuses to change what it looks at: nothing is created, joined,
// committed or registered, and a target is sent no request. It prints no secret.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Status is what came of a check.
type Status string

// The statuses. Only Failed makes the process end with 1.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Result is one line of the answer, and one element of that of --json.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Cure   string `json:"cure"` // empty where there is nothing to cure
}

// Pass is a result of status OK.
func Pass(format string, values ...any) Result {
	return Result{Status: OK, Detail: fmt.Sprintf(format, values...)}
}

// Fail is a result of status Failed.
func Fail(detail, cure string) Result { return Result{Status: Failed, Detail: detail, Cure: cure} }

// Warn is a result of status Warning.
func Warn(detail, cure string) Result {
	return Result{Status: Warning, Detail: detail, Cure: cure}
}

// Skip is a result of status Skipped.
func Skip(why string) Result { return Result{Status: Skipped, Detail: why} }

// Check is one question, or several that are asked together.
type Check struct {
	Name string
	// After names earlier checks that must have gone well enough: at least one of
	// their results may not be failed or skipped. Else this check is skipped.
	After []string
	// Bound is how long Ask may take; zero is DefaultBound.
	Bound time.Duration
	// Run answers with one result or more; one without a Check gets the name.
	Run func(context.Context) []Result
}

const (
	// DefaultBound is for one question over the network.
	DefaultBound = 10 * time.Second

	// wholeBound is for all checks together: with grace, and the time that the
	// process takes to start and to end, below 30 s.
	wholeBound = 28 * time.Second

	// grace is how long a check whose time is over may take to say what it waited
	// for; then that is said for it.
	grace = 500 * time.Millisecond
)

// Run asks all checks, side by side where they do not depend on one another, and
// tells each result in the order of the checks as soon as it is known. It ends
// within 30 s, or soon after ctx, and returns the results.
func Run(ctx context.Context, checks []Check, tell func(Result)) []Result {
	bounded, cancel := context.WithTimeout(ctx, wholeBound)
	defer cancel()
	started := make(map[string]*run, len(checks))
	for _, check := range checks {
		one := &run{check: check, done: make(chan struct{})}
		for _, name := range check.After {
			one.after = append(one.after, started[name]) // an earlier one, so no circle
		}
		started[check.Name] = one
		go func() {
			defer close(one.done)
			one.results = one.named(one.answer(ctx, bounded))
		}()
	}
	var all []Result
	for _, check := range checks {
		one := started[check.Name]
		<-one.done
		for _, result := range one.results {
			tell(result)
		}
		all = append(all, one.results...)
	}
	return all
}

// run is one check on its way.
type run struct {
	check   Check
	after   []*run
	done    chan struct{} // closed when results are there
	results []Result
}

// answer waits for what the check depends on and asks. whole is the context of
// the caller, which a signal ends; ctx is bounded.
func (r *run) answer(whole, ctx context.Context) []Result {
	for _, earlier := range r.after {
		<-earlier.done
		if !earlier.passed() {
			return []Result{Skip("waits for " + earlier.check.Name)}
		}
	}
	bound := r.check.Bound
	if bound == 0 {
		bound = DefaultBound
	}
	if ctx.Err() != nil && whole.Err() == nil {
		return []Result{Fail(fmt.Sprintf("not tried: %s were over", wholeBound), "see which of the others took so long, and try again")}
	}
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	results := ask(asking, r.check.Run)
	switch {
	case whole.Err() != nil:
		return []Result{Skip("interrupted")}
	case results == nil:
		return []Result{Fail(fmt.Sprintf("no answer within %s", time.Since(began).Truncate(time.Second)), "see what keeps it busy, and try again")}
	}
	return results
}

// ask gives the answer, or nil where none came in time.
func ask(ctx context.Context, question func(context.Context) []Result) []Result {
	answered := make(chan []Result, 1)
	go func() { answered <- question(ctx) }()
	select {
	case results := <-answered:
		return results
	case <-ctx.Done():
	}
	select {
	case results := <-answered:
		return results
	case <-time.After(grace):
		return nil
	}
}

// passed tells whether what depends on the check makes sense.
func (r *run) passed() bool {
	return slices.ContainsFunc(r.results, func(one Result) bool { return one.Status == OK || one.Status == Warning })
}

func (r *run) named(results []Result) []Result {
	for i := range results {
		if results[i].Check == "" {
			results[i].Check = r.check.Name
		}
		results[i].Detail, results[i].Cure = oneLine(results[i].Detail), oneLine(results[i].Cure)
	}
	return results
}

// Verdict is nil where nothing failed; else it names what did, or says that ctx
// ended before all was known.
func Verdict(ctx context.Context, results []Result) error {
	if ctx.Err() != nil {
		return errors.New("preflight: interrupted") // and not ctx's error: a signal that ends a process well exits with 0
	}
	var failed []string
	for _, result := range results {
		if result.Status == Failed {
			failed = append(failed, result.Check)
		}
	}
	if failed == nil {
		return nil
	}
	return fmt.Errorf("preflight: %d of %d failed: %s", len(failed), len(results), list(failed))
}
