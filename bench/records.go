package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
)

// recordCount is the number of dead letters in the tracker.
const recordCount = 100_000

// selectedRecords is the number of dead letters of one interaction.
const selectedRecords = 20

const (
	firstRow   = "first row ms"
	allRows    = "all rows ms"
	firstSent  = "first request ms"
	allSent    = "all resolved ms"
	memCommand = "command MB"
)

// recordsTable is the table of "make bench-records", which measures the command
// deadletter.
func recordsTable() table {
	return table{
		name: "records",
		cases: []benchCase{
			{"list of 1,000", "deadletter list, 1,000 records", listOf(1000)},
			{"list", fmt.Sprintf("deadletter list, %d records", recordCount), listOf(recordCount)},
			{"list --interaction", "one interaction among them", listOf(recordCount, "--interaction", interaction(7))},
			{"replay --interaction", fmt.Sprintf("the %d records of one interaction among them, sent again", selectedRecords), replaySelected},
		},
		ratios: []ratio{
			{"first row of all, ms", "list", "", firstRow, 2000, itself, true},
			{"all rows, ms", "list", "", allRows, 15_000, itself, true},
			{"memory, that of 1,000", "list", "list of 1,000", memCommand, 1.5, quotient, true},
			{"filtered list, ms", "list --interaction", "", allRows, 15_000, itself, true},
			{"filtered replay to its first request, ms", "replay --interaction", "", firstSent, 15_000, itself, true},
		},
	}
}

func interaction(i int) string { return fmt.Sprintf("conversation-%06d", i) }

// writeRecords writes n records of one target as the tracker does, but does not wait for
// the disk after each.
func (f *pipeline) writeRecords(n int) error {
	dir := f.path("dead-letters")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, e := range f.lab.messages(n, kilobyte) {
		record := deadletter.Record{
			EventID: e.ID, TargetName: "target-0", Error: "503 Service Unavailable: try later", Reason: event.ReasonExhausted,
			StatusCode: 503, Attempts: 20, Timestamp: time.Now().UTC(), EventType: "v2.detail.events.conversation.{id}.customer.start",
			InteractionID: interaction(i / selectedRecords), WorkflowID: fanout.WorkflowID(e.ID), RunID: "an earlier run",
			Source: event.Source{Topic: f.name, Offset: int64(i)},
		}
		deadletter.SetPayload(&record, e.Message)
		data, err := json.MarshalIndent(record, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, deadletter.FileName(record.TargetName, e.ID)), data, 0o600); err != nil {
			return err
		}
	}
	syscall.Sync() // otherwise the first record that is resolved would wait for all of these
	return nil
}

// runDeadletter runs the built deadletter to its end and returns its peak resident
// memory. onLine gets each line that it prints; nil ignores them.
func (f *pipeline) runDeadletter(ctx context.Context, onLine func(string), args ...string) (megabytes float64, err error) {
	p, err := devstack.StartProcess(ctx, devstack.ProcessOptions{
		Path: filepath.Join(f.lab.bin, "deadletter"), Args: args, Dir: f.dir, OnLine: onLine,
		Env: []string{
			"TEMPORAL_ADDRESS=" + f.lab.temporal.Address(), "FANOUT_TARGETS=" + f.path("targets.yaml"),
			"FANOUT_TASK_QUEUE=" + f.name, "FANOUT_DEAD_LETTERS=" + f.path("dead-letters"),
		},
	})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	const interval = 10 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if memory, err := p.RSS(); err == nil { // an error means that it has just ended
				megabytes = float64(memory.Peak) / (1 << 20)
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-p.Done():
			if code, err := p.Wait(ctx); err != nil || code != 0 {
				return 0, fmt.Errorf("deadletter %s: exit %d, %w\n%s", args[0], code, err, p.Text())
			}
			return megabytes, nil
		}
	}
}

// listOf measures deadletter list with n records in the tracker.
func listOf(n int, filter ...string) measure {
	return func(ctx context.Context, l *lab, _ int) (figures, error) {
		f, err := l.pipeline(ctx, setup{targets: healthyTargets(1)})
		if err != nil {
			return nil, err
		}
		defer f.close()
		if err := f.writeRecords(n); err != nil {
			return nil, err
		}
		lines := 0
		var first time.Duration
		began := time.Now()
		memory, err := f.runDeadletter(ctx, func(string) {
			if lines++; lines == 2 { // the first line is the head of the table
				first = time.Since(began)
			}
		}, append([]string{"list"}, filter...)...)
		if err != nil {
			return nil, err
		}
		return figures{
			firstRow: float64(first.Milliseconds()), allRows: float64(time.Since(began).Milliseconds()), memCommand: memory,
		}, nil
	}
}

// replaySelected measures the time from the start of deadletter replay to the first
// request. It fails unless all selected events arrive.
func replaySelected(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.pipeline(ctx, setup{targets: healthyTargets(1)})
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.writeRecords(recordCount); err != nil {
		return nil, err
	}
	if err := f.startWorker(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	memory, err := f.runDeadletter(ctx, nil, "replay", "--interaction", interaction(7), "--yes")
	if err != nil {
		return nil, err
	}
	if got := f.targets[0].Events(); got != selectedRecords {
		return nil, fmt.Errorf("the target got %d events, but %d were selected", got, selectedRecords)
	}
	first, _ := firstAndLastRequest(f.targets)
	return figures{firstSent: float64(first.Sub(began).Milliseconds()), allSent: float64(time.Since(began).Milliseconds()), memCommand: memory}, nil
}
