package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"genesys-fanout/fanout"
	"genesys-fanout/internal/contactcentre"
	"genesys-fanout/internal/devstack"
)

// Behaviours of the third target in the table windows.
const (
	slowly behaviour = "slowly" // answers after 2 s
	second behaviour = "second" // answers 503 to one first attempt in five, so that its breaker stays closed
)

// windowRate is the number of events/s, far below saturation.
const windowRate = 20

// windows is a table of how long the outcome of a request is not yet in the history. A process
// that is killed in this time leaves an attempt whose outcome nobody knows.
func windows() table {
	return table{name: "windows", cases: []benchCase{
		{"fast lane", "three targets, all up", window(setup{targets: healthyTargets(3)}, 0)},
		{"fast lane, one slow", "one of three targets answers after 2 s; the other two", window(setup{targets: twoHealthyAnd(slowly)}, 0)},
		{"retry lane", "one of three targets answers 503 to one first attempt in five; its second attempts", window(setup{targets: twoHealthyAnd(second)}, 2)},
	}}
}

// answerByAttempt is the script of the behaviours slowly and second.
func answerByAttempt(b behaviour, r devstack.Request) devstack.Answer {
	switch {
	case b == slowly:
		return devstack.Answer{Delay: 2 * time.Second}
	case r.Attempt == 1 && r.Number%5 == 0:
		return devstack.Answer{Status: http.StatusServiceUnavailable}
	}
	return devstack.Answer{}
}

// window measures the time from the arrival of a request at a target until the history of its run
// has the outcome.
func window(s setup, index int) measure {
	return func(ctx context.Context, l *lab, _ int) (figures, error) {
		f, err := l.pipeline(ctx, s)
		if err != nil {
			return nil, err
		}
		defer f.close()
		if err := f.startWorker(ctx); err != nil {
			return nil, err
		}
		if err := f.startIngests(ctx); err != nil {
			return nil, err
		}
		events := l.messages(int(windowRate*latencyTime.Seconds()), kilobyte)
		if _, err := f.publishAt(ctx, windowRate, events); err != nil {
			return nil, err
		}
		c, err := l.client(ctx)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		var lengths []float64
		for _, e := range events {
			length, err := f.windowOf(ctx, c, e, index)
			if err != nil {
				return nil, fmt.Errorf("event %s: %w", e.ID, err)
			}
			if length > 0 {
				lengths = append(lengths, float64(length.Microseconds())/1000)
			}
		}
		slices.Sort(lengths)
		return figures{p50: percentile(lengths, 50), p99: percentile(lengths, 99), "most ms": lengths[len(lengths)-1]}, nil
	}
}

// windowOf waits until the run of an event has completed, and returns the time from the last request
// to a target until the outcome is in the history. It returns 0 if the retry lane is measured and the
// run did not need it.
func (f *pipeline) windowOf(ctx context.Context, c client.Client, e contactcentre.Event, index int) (time.Duration, error) {
	if err := c.GetWorkflow(ctx, fanout.WorkflowID(e.ID), "").Get(ctx, nil); err != nil {
		return 0, err
	}
	requests := f.targets[index].ByEvent(e.ID)
	if len(requests) == 0 {
		return 0, fmt.Errorf("target %d got no request", index)
	}
	// The first attempts of a run are recorded together, when its first workflow task completes.
	outcome := enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
	switch {
	case len(requests) > 1:
		outcome = enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
	case f.setup.targets[index] == second:
		return 0, nil
	}
	history := c.GetWorkflowHistory(ctx, fanout.WorkflowID(e.ID), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		one, err := history.Next()
		if err != nil {
			return 0, err
		}
		if one.GetEventType() == outcome {
			return one.GetEventTime().AsTime().Sub(requests[len(requests)-1].Time), nil
		}
	}
	return 0, fmt.Errorf("the history has no event %s", outcome)
}
