// Package preflight tries every connection of a process before the process runs. It prints one
// line for each, with the cure if the connection fails.
//
// The package changes nothing: it does not create, join, commit or register anything, and it
// sends no request to a target. It prints no secret.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is the outcome of a check.
type Status string

// The statuses. The process exits with 1 if a result has the status Failed.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Result is one line of the output, or one element of the array that --json prints.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Cure   string `json:"cure"` // empty if there is nothing to do
}

// Pass returns a result with the status OK.
func Pass(format string, values ...any) Result {
	return Result{Status: OK, Detail: fmt.Sprintf(format, values...)}
}

// Fail returns a result with the status Failed.
func Fail(detail, cure string) Result { return Result{Status: Failed, Detail: detail, Cure: cure} }

// Warn returns a result with the status Warning.
func Warn(detail, cure string) Result {
	return Result{Status: Warning, Detail: detail, Cure: cure}
}

// Skip returns a result with the status Skipped.
func Skip(why string) Result { return Result{Status: Skipped, Detail: why} }

// Check is one check, or several that are made together.
type Check struct {
	Name string
	// After names earlier checks on which this one depends. If one of them has no result with
	// the status OK or Warning, this check is skipped.
	After []string
	// Bound is the longest time that Run may take. Zero means DefaultBound.
	Bound time.Duration
	// Run returns one or more results. A result without a Check gets the Name.
	Run func(context.Context) []Result
}

const (
	// DefaultBound is enough for one request over the network.
	DefaultBound = 10 * time.Second

	// totalBound is for all checks together. With grace, and with the time that the process
	// takes to start and to end, a preflight ends within 30 s.
	totalBound = 28 * time.Second

	// grace is how long a check may take, after its Bound, to return a result that says what it
	// was waiting for.
	grace = 500 * time.Millisecond
)

// Run makes all checks and returns the results. Checks that do not depend on one another run
// concurrently. Run passes each result to emit as soon as it is known, in the order of the
// checks. It returns within 30 s, or soon after the end of ctx.
func Run(ctx context.Context, checks []Check, emit func(Result)) []Result {
	bounded, cancel := context.WithTimeout(ctx, totalBound)
	defer cancel()
	started := make(map[string]*run, len(checks))
	for _, check := range checks {
		one := &run{check: check, done: make(chan struct{})}
		for _, name := range check.After {
			one.after = append(one.after, started[name]) // only earlier checks, so there is no cycle
		}
		started[check.Name] = one
		go func() {
			defer close(one.done)
			one.results = one.complete(one.makeCheck(ctx, bounded))
		}()
	}
	var all []Result
	for _, check := range checks {
		one := started[check.Name]
		<-one.done
		for _, result := range one.results {
			emit(result)
		}
		all = append(all, one.results...)
	}
	return all
}

// run is the run of one check.
type run struct {
	check   Check
	after   []*run
	done    chan struct{} // closed when results is set
	results []Result
}

// makeCheck waits for the checks that this one depends on, and then makes this one. A signal
// ends the context unbounded; ctx also ends after totalBound.
func (r *run) makeCheck(unbounded, ctx context.Context) []Result {
	for _, earlier := range r.after {
		<-earlier.done
		if !earlier.succeeded() {
			return []Result{Skip("waits for " + earlier.check.Name)}
		}
	}
	bound := r.check.Bound
	if bound == 0 {
		bound = DefaultBound
	}
	if ctx.Err() != nil && unbounded.Err() == nil {
		return []Result{Fail(fmt.Sprintf("not tried, because the earlier checks took %s", totalBound), "find out which of them took so long, and try again")}
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	results := inTime(limited, r.check.Run)
	switch {
	case unbounded.Err() != nil:
		return []Result{Skip("interrupted")}
	case results == nil:
		return []Result{Fail(fmt.Sprintf("no answer within %s", time.Since(began).Truncate(time.Second)), "find out why it does not answer, and try again")}
	}
	return results
}

// inTime returns the results of a check, or nil if the check does not end soon after ctx.
func inTime(ctx context.Context, check func(context.Context) []Result) []Result {
	ended := make(chan []Result, 1)
	go func() { ended <- check(ctx) }()
	select {
	case results := <-ended:
		return results
	case <-ctx.Done():
	}
	select {
	case results := <-ended:
		return results
	case <-time.After(grace):
		return nil
	}
}

// succeeded reports whether the checks that depend on this one can be made.
func (r *run) succeeded() bool {
	return slices.ContainsFunc(r.results, func(one Result) bool { return one.Status == OK || one.Status == Warning })
}

// complete fills in the name of the check, and makes one line of each text.
func (r *run) complete(results []Result) []Result {
	for i := range results {
		if results[i].Check == "" {
			results[i].Check = r.check.Name
		}
		results[i].Detail, results[i].Cure = oneLine(results[i].Detail), oneLine(results[i].Cure)
	}
	return results
}

// FailedChecks returns nil if no check failed, and otherwise an error that names the failed
// checks. If ctx has ended, it returns an error that says so, because some checks were not made.
func FailedChecks(ctx context.Context, results []Result) error {
	if ctx.Err() != nil {
		return errors.New("preflight: interrupted") // not ctx.Err(), with which process.Main exits with 0 after a signal
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
	return fmt.Errorf("preflight: %d of %d failed: %s", len(failed), len(results), strings.Join(failed, ", "))
}
