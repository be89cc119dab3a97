package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/await"
)

// commits samples the committed offsets of the group.
type commits struct {
	mu   sync.Mutex
	list []audit.Commit
}

func (c *commits) sample(ctx context.Context, w *world) {
	every(ctx, time.Second, func() {
		asked := time.Now()
		answering, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		offsets, err := w.kafka.Committed(answering, group)
		if err != nil {
			return // the broker is away
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for partition, offset := range offsets[topic] {
			c.list = append(c.list, audit.Commit{At: asked, Partition: partition, Offset: offset})
		}
	})
}

// awaitSettled waits until Temporal has every message, and every run has ended. It continues as long
// as something moves.
func (w *world) awaitSettled(ctx context.Context) error {
	stored, err := w.kafka.ReadAll(ctx, topic)
	if err != nil {
		return err
	}
	return await.Until(ctx, "every delivery is settled", func() (any, bool) {
		offsets, err := w.kafka.Committed(ctx, group)
		if err != nil {
			return err, false
		}
		open, err := w.client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: fmt.Sprintf(`TaskQueue = %q AND ExecutionStatus = "Running"`, taskQueue),
		})
		if err != nil {
			return err, false
		}
		requests := 0
		for _, t := range w.targets {
			requests += t.Count()
		}
		missing := int64(len(stored)) - offsets.Sum(topic)
		state := fmt.Sprintf("%d messages are not committed, %d runs are open, %d requests", missing, open.GetCount(), requests)
		return state, missing <= 0 && open.GetCount() == 0
	})
}

// observe gathers the facts.
func (w *world) observe(ctx context.Context, sampled *commits) (audit.Facts, *histories, error) {
	f := audit.Facts{Commits: sampled.list, Disturbances: w.journal.disturbances}
	for _, s := range append(specs(), extra()) {
		f.Targets = append(f.Targets, s.audited(s.name != extra().name && s.name != w.list.retired))
	}
	var failures []error
	stored, err := w.kafka.ReadAll(ctx, topic)
	failures = append(failures, err)
	for _, m := range stored {
		known, ok := w.traffic.of(m.Value)
		if !ok {
			failures = append(failures, fmt.Errorf("partition %d, offset %d: a message that was not produced", m.Partition, m.Offset))
			continue
		}
		f.Messages = append(f.Messages, audit.Message{Partition: m.Partition, Offset: m.Offset, Kind: known.kind, EventID: known.eventID, SHA256: known.sum})
	}
	for _, t := range w.targets {
		for _, r := range t.Requests() {
			f.Requests = append(f.Requests, audit.Request{
				Target: t.name, EventID: r.EventID, Sender: strings.TrimPrefix(r.Path, "/"), Attempt: r.Attempt,
				At: r.Time, Answered: r.Answered, Status: r.Status, SHA256: r.SHA256,
			})
		}
	}
	failures = append(failures, w.observeTracker(ctx, &f))
	read, err := w.observeRuns(ctx, &f)
	return f, read, errors.Join(append(failures, err)...)
}

func (w *world) observeTracker(ctx context.Context, f *audit.Facts) error {
	tracker, err := deadletter.OpenExisting(w.tracker)
	if err != nil {
		return err
	}
	add := func(r deadletter.Record, state audit.State, closed time.Time) {
		f.Records = append(f.Records, audit.Record{
			Target: r.TargetName, EventID: r.EventID, State: state, Reason: r.Reason, At: r.Timestamp, ClosedAt: closed,
			RunID: r.RunID, Partition: r.Source.Partition, Offset: r.Source.Offset,
		})
	}
	var failures []error
	for r, err := range tracker.All(ctx) {
		if err != nil {
			failures = append(failures, err)
			continue
		}
		add(r, audit.Open, time.Time{})
	}
	for r, err := range tracker.Closed(ctx, deadletter.Folders()...) {
		if err != nil {
			// A record that was damaged by hand is superseded as it is.
			w.journal.note("a closed record cannot be read: %v", err)
			continue
		}
		add(r.Record, audit.State(r.Folder), r.At)
	}
	return errors.Join(failures...)
}

// histories count what the histories of the runs show.
type histories struct {
	mu       sync.Mutex
	answered int // questions to another process, answered
	silent   int // questions that no process took
}

// observeRuns lists the runs and reads the histories of those that are longer than that of a healthy
// event.
func (w *world) observeRuns(ctx context.Context, f *audit.Facts) (*histories, error) {
	const healthyLength = 12 // 5 events, and a marker for each of up to 6 targets
	var long []int
	var token []byte
	for {
		page, err := w.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: fmt.Sprintf("TaskQueue = %q", taskQueue), PageSize: 1000, NextPageToken: token,
		})
		if err != nil {
			return nil, fmt.Errorf("list the runs: %w", err)
		}
		for _, run := range page.GetExecutions() {
			if run.GetHistoryLength() > healthyLength || run.GetCloseTime() == nil {
				long = append(long, len(f.Runs))
			}
			one := audit.Run{
				EventID: eventID(run.GetExecution().GetWorkflowId()), RunID: run.GetExecution().GetRunId(),
				Started: run.GetStartTime().AsTime(), Status: run.GetStatus().String(),
			}
			if run.GetCloseTime() != nil {
				one.Closed = run.GetCloseTime().AsTime()
			}
			f.Runs = append(f.Runs, one)
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			break
		}
	}
	counted := &histories{}
	toRead := long
	if w.list.added || w.list.retired != "" { // which targets a run has shows in its input alone
		toRead = make([]int, len(f.Runs))
		for i := range toRead {
			toRead[i] = i
		}
	}
	return counted, w.readHistories(ctx, f.Runs, toRead, counted)
}

func (w *world) readHistories(ctx context.Context, runs []audit.Run, indexes []int, counted *histories) error {
	const readers = 8
	work := make(chan int)
	results := make(chan error, readers)
	for range readers {
		go func() {
			var failure error
			for i := range work {
				failure = errors.Join(failure, w.readHistory(ctx, &runs[i], counted))
			}
			results <- failure
		}()
	}
	for _, i := range indexes {
		work <- i
	}
	close(work)
	var failures []error
	for range readers {
		failures = append(failures, <-results)
	}
	return errors.Join(failures...)
}

func (w *world) readHistory(ctx context.Context, run *audit.Run, counted *histories) error {
	recalls := make(map[int64]bool) // the questions, by the id of their first event
	events := w.client.GetWorkflowHistory(ctx, fanout.WorkflowID(run.EventID), run.RunID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return fmt.Errorf("history of run %s of event %s: %w", run.RunID, run.EventID, err)
		}
		switch e.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
			if run.Targets, err = targetsOf(e); err != nil {
				return err
			}
		case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			recalls[e.GetEventId()] = strings.HasPrefix(e.GetActivityTaskScheduledEventAttributes().GetActivityId(), fanout.RecallActivityID(""))
		case enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			if recalls[e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()] {
				counted.add(&counted.answered)
			}
		case enums.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
			if recalls[e.GetActivityTaskTimedOutEventAttributes().GetScheduledEventId()] {
				counted.add(&counted.silent)
			}
		}
	}
	return nil
}

func (h *histories) add(n *int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*n++
}

// targetsOf returns the targets of a run's input.
func targetsOf(started *history.HistoryEvent) ([]string, error) {
	var input fanout.Input
	err := fanout.DataConverter().FromPayloads(started.GetWorkflowExecutionStartedEventAttributes().GetInput(), &input)
	if err != nil {
		return nil, fmt.Errorf("read the input of a run: %w", err)
	}
	var names []string
	for _, policy := range input.Targets {
		names = append(names, policy.Target)
	}
	return names, nil
}
