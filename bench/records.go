package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/workflows"
)

// manyRecords is how many dead letters wait in the tracker.
const manyRecords = 100_000

// selected is how many of them one interaction has.
const selected = 20

const (
	firstRow   = "first row ms"
	allRows    = "all rows ms"
	firstSent  = "first request ms"
	memCommand = "command MB"
)

// recordsTable is the table of the command deadletter.
func recordsTable() table {
	return table{
		name: "records",
		cases: []benchCase{
			{"list of 1,000", "deadletter list, 1,000 records", listOf(1000)},
			{"list", fmt.Sprintf("deadletter list, %d records", manyRecords), listOf(manyRecords)},
			{"list --interaction", "one interaction among them", listOf(manyRecords, "--interaction", interaction(7))},
			{"replay --interaction", fmt.Sprintf("the %d records of one interaction among them, sent again", selected), replaySelected},
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

// fill writes n records of one target, as the tracker does but without waiting
// for the disk each time.
func (f *fanout) fill(n int) error {
	dir := f.path("dead-letters")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, e := range f.lab.messages(n, kilobyte) {
		record := deadletter.Record{
			EventID: e.ID, TargetName: "target-0", Error: "503 Service Unavailable: try later", Reason: deadletter.Exhausted,
			StatusCode: 503, Attempts: 20, Timestamp: time.Now().UTC(), EventType: "v2.detail.events.conversation.{id}.customer.start",
			InteractionID: interaction(i / selected), WorkflowID: workflows.ID(e.ID), RunID: "an earlier run",
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
	return nil
}

// command is the built deadletter with the settings of the fan-out.
func (f *fanout) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(f.lab.bin, "deadletter"), args...)
	c.Dir = f.dir
	c.Env = []string{
		"HOME=" + f.dir, "TEMPORAL_ADDRESS=" + f.lab.temporal.Address(), "FANOUT_TARGETS=" + f.path("targets.yaml"),
		"FANOUT_TASK_QUEUE=" + f.name, "FANOUT_DEAD_LETTERS=" + f.path("dead-letters"),
	}
	return c
}

// resident is the most memory that a process had which has ended.
func resident(c *exec.Cmd) float64 {
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return float64(usage.Maxrss) / 1024 // Linux counts in KB
}

func listOf(n int, filter ...string) measure {
	return func(ctx context.Context, l *lab, _ int) (figures, error) {
		f, err := l.fanout(ctx, setup{targets: healthy(1)})
		if err != nil {
			return nil, err
		}
		defer f.close()
		if err := f.fill(n); err != nil {
			return nil, err
		}
		c := f.command(ctx, append([]string{"list"}, filter...)...)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := c.Start(); err != nil {
			return nil, err
		}
		rows := bufio.NewReader(out)
		if err := skipLines(rows, 2); err != nil { // the head, and a row
			return nil, err
		}
		first := time.Since(began)
		if _, err := io.Copy(io.Discard, rows); err != nil {
			return nil, err
		}
		if err := c.Wait(); err != nil {
			return nil, fmt.Errorf("deadletter list: %w", err)
		}
		return figures{
			firstRow: float64(first.Milliseconds()), allRows: float64(time.Since(began).Milliseconds()), memCommand: resident(c),
		}, nil
	}
}

func skipLines(r *bufio.Reader, n int) error {
	for range n {
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

// replaySelected measures from the command's start to the first request, and
// sees that all that was selected arrives.
func replaySelected(ctx context.Context, l *lab, _ int) (figures, error) {
	f, err := l.fanout(ctx, setup{targets: healthy(1)})
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.fill(manyRecords); err != nil {
		return nil, err
	}
	if err := f.startWorker(ctx); err != nil {
		return nil, err
	}
	c := f.command(ctx, "replay", "--interaction", interaction(7), "--yes")
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("deadletter replay: %w\n%s", err, out)
	}
	if got := f.targets[0].Events(); got != selected {
		return nil, fmt.Errorf("%d events were sent, not the %d that were selected", got, selected)
	}
	first, _ := span(f.targets)
	return figures{firstSent: float64(first.Sub(began).Milliseconds()), memCommand: resident(c)}, nil
}
