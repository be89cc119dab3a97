package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"genesys-fanout/chaos/audit"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/devstack"
)

// operatorFaults are what operators do, at bad moments.
func operatorFaults() []fault {
	operator := func(name string, do func(context.Context, *world, *rand.Rand) error) fault {
		return fault{name: name, lane: laneOperator, inject: do}
	}
	return []fault{
		operator("cancel open runs", onRuns(open, 5, cancelRun)),
		operator("reset settled runs", onRuns(settled, 20, resetSettledRun)),
		operator("reset settled runs again", onRuns(settled, 20, resetSettledRun)),
		operator("terminate open runs and reset them", onRuns(open, 5, terminateAndReset)),
		operator("pause and unpause deliveries", onRuns(open, 10, pauseDelivery)),
		operator("replay dead letters", replayAll),
		operator("replay dead letters again", replayAll),
		operator("discard a dead letter", discardOne),
		{name: "rewind the group by 500", lane: laneProcesses, inject: rewind},
		{name: "a target is added", lane: laneProcesses, inject: changeTargets(addTarget)},
		{name: "a target is paused and active again", lane: laneProcesses, inject: changeTargets(pauseTarget, resumeTarget)},
		{name: "a target is taken out", lane: laneProcesses, inject: changeTargets(removeTarget)},
	}
}

// runInfo is a run as Temporal lists it.
type runInfo = *workflow.WorkflowExecutionInfo

// Which runs an operator chooses from.
const (
	open    = `ExecutionStatus = "Running"`
	settled = `ExecutionStatus IN ("Completed", "Failed")`
)

// onRuns does something to up to n runs that match a query. Temporal may be away for some of the
// commands, as it may be for an operator's.
func onRuns(query string, n int, do func(context.Context, *world, runInfo) error) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, r *rand.Rand) error {
		var runs []runInfo
		err := repeat(ctx, time.Minute, func(ctx context.Context) error {
			found, err := w.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Query: fmt.Sprintf(`TaskQueue = %q AND %s`, taskQueue, query), PageSize: 500,
			})
			runs = found.GetExecutions()
			return err
		})
		if err != nil {
			return fmt.Errorf("list the runs: %w", err)
		}
		r.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
		runs = runs[:min(n, len(runs))]
		var failures []error
		for _, run := range runs {
			if err := do(ctx, w, run); err != nil {
				failures = append(failures, err)
			}
		}
		w.journal.note("  %d runs, %d commands failed", len(runs), len(failures))
		return nil
	}
}

// eventID returns the id of the event of a workflow ID. The events of the contact centre have ids
// that need no escaping.
func eventID(workflowID string) string { return strings.TrimPrefix(workflowID, fanout.WorkflowID("")) }

func cancelRun(ctx context.Context, w *world, run runInfo) error {
	return gone(w.client.CancelWorkflow(ctx, run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId()))
}

// gone drops the error if a run or an activity has ended meanwhile.
func gone(err error) error {
	if err != nil && (strings.Contains(err.Error(), "already completed") || strings.Contains(err.Error(), "not found")) {
		return nil
	}
	return err
}

// resetSettledRun resets a run that has settled all deliveries, unless the event has a run that is
// open, because the reset would terminate that one.
func resetSettledRun(ctx context.Context, w *world, run runInfo) error {
	w.replaying.Lock() // a replay may start a run of the event between the question and the reset
	defer w.replaying.Unlock()
	current, err := w.client.DescribeWorkflowExecution(ctx, run.GetExecution().GetWorkflowId(), "")
	if err != nil {
		return fmt.Errorf("reset a settled run: %w", err)
	}
	info := current.GetWorkflowExecutionInfo()
	if s := info.GetStatus(); s != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED && s != enums.WORKFLOW_EXECUTION_STATUS_FAILED {
		return nil
	}
	return w.reset(ctx, info.GetExecution())
}

// reset resets a run to its first workflow task.
func (w *world) reset(ctx context.Context, run *common.WorkflowExecution) error {
	const firstTask = 4 // the end of the first workflow task, as the command line's FirstWorkflowTask
	_, err := w.client.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: devstack.Namespace, WorkflowExecution: run, Reason: "chaos",
		WorkflowTaskFinishEventId: firstTask, RequestId: run.GetRunId() + time.Now().String(),
	})
	if err != nil {
		return fmt.Errorf("reset a run: %w", err)
	}
	return nil
}

// terminateAndReset terminates an open run and resets it. By the contract its targets may get the
// event again.
func terminateAndReset(ctx context.Context, w *world, run runInfo) error {
	id := run.GetExecution().GetWorkflowId()
	w.journal.disturbed(audit.Disturbance{Cause: audit.ResetOfOpenRun, EventID: eventID(id)})
	if err := w.client.TerminateWorkflow(ctx, id, run.GetExecution().GetRunId(), "chaos"); gone(err) != nil {
		return fmt.Errorf("terminate a run: %w", err)
	}
	return gone(w.reset(ctx, run.GetExecution()))
}

// pauseDelivery pauses the pending deliveries of a run and unpauses them a moment later.
func pauseDelivery(ctx context.Context, w *world, run runInfo) error {
	described, err := w.client.DescribeWorkflowExecution(ctx, run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId())
	if err != nil {
		return gone(err)
	}
	service := w.client.WorkflowService()
	for _, a := range described.GetPendingActivities() {
		if !strings.HasPrefix(a.GetActivityId(), fanout.DeliverActivityID("")) {
			continue
		}
		_, err := service.PauseActivity(ctx, &workflowservice.PauseActivityRequest{
			Namespace: devstack.Namespace, Execution: run.GetExecution(), Reason: "chaos",
			Activity: &workflowservice.PauseActivityRequest_Id{Id: a.GetActivityId()},
		})
		if gone(err) != nil {
			return fmt.Errorf("pause an activity: %w", err)
		}
		pause(ctx, time.Second)
		if err := w.unpause(context.WithoutCancel(ctx), run.GetExecution(), a.GetActivityId()); err != nil {
			return err
		}
	}
	return nil
}

// unpause repeats until Temporal has accepted it, because a delivery that stays paused would look
// like one that is lost.
func (w *world) unpause(ctx context.Context, run *common.WorkflowExecution, activityID string) error {
	return repeat(ctx, 2*time.Minute, func(ctx context.Context) error {
		_, err := w.client.WorkflowService().UnpauseActivity(ctx, &workflowservice.UnpauseActivityRequest{
			Namespace: devstack.Namespace, Execution: run, Activity: &workflowservice.UnpauseActivityRequest_Id{Id: activityID},
		})
		return gone(err)
	})
}

// repeat repeats f once a second until it succeeds. After the time it returns the last error.
func repeat(ctx context.Context, within time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil || !pause(ctx, time.Second) {
			return err
		}
	}
}

// deadletter runs the command deadletter, and returns what it printed and its exit status.
func (w *world) deadletter(ctx context.Context, args ...string) (string, int, error) {
	command := exec.CommandContext(ctx, filepath.Join(w.bin, "deadletter"), args...) //nolint:gosec // our own binary
	command.Env = append(w.settings(w.temporal.Address()), "FANOUT_TARGETS="+filepath.Join(w.members[0].dir, "targets.yaml"), "HOME="+w.dir)
	out, err := command.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		return "", 0, err
	}
	return string(out), command.ProcessState.ExitCode(), nil
}

// replayTime is how long a replay may run while faults happen. It waits for what does not settle.
const replayTime = time.Minute

func replayAll(ctx context.Context, w *world, _ *rand.Rand) error {
	w.replaying.Lock()
	defer w.replaying.Unlock()
	ctx, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	out, code, err := w.deadletter(ctx, "replay", "--all", "--yes")
	if err != nil && ctx.Err() == nil {
		return err
	}
	w.journal.note("  deadletter replay: exit %d: %s", code, lastLine(out))
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func discardOne(ctx context.Context, w *world, _ *rand.Rand) error {
	for r, err := range w.records(ctx) {
		if err != nil || r.Reason != event.ReasonRejected {
			continue
		}
		out, code, err := w.deadletter(ctx, "discard", r.TargetName, r.EventID, "--note", "chaos", "--yes")
		if err != nil {
			return err
		}
		w.journal.note("  deadletter discard %s %s: exit %d: %s", r.TargetName, r.EventID, code, lastLine(out))
		return nil
	}
	return nil
}

// stopAll stops members by SIGTERM while their turn is taken.
func stopAll(ctx context.Context, members []*member) error {
	failures := make(chan error, len(members))
	for _, m := range members {
		go func() { failures <- m.stop(ctx) }()
	}
	var all []error
	for range members {
		all = append(all, <-failures)
	}
	return errors.Join(all...)
}

// startAll starts members.
func startAll(ctx context.Context, members []*member) error {
	var all []error
	for _, m := range members {
		all = append(all, m.startAndWait(ctx))
	}
	return errors.Join(all...)
}

// takeTurns takes the turn of members, so that no other fault starts or ends them.
func takeTurns(members []*member) (giveBack func()) {
	for _, m := range members {
		m.turn.Lock()
	}
	return func() {
		for _, m := range members {
			m.turn.Unlock()
		}
	}
}

// rewound is the number of messages by which the group is rewound.
const rewound = 500

// rewind moves the committed offsets back. The events have their runs already, so no target gets
// any of them again.
func rewind(ctx context.Context, w *world, _ *rand.Rand) error {
	defer takeTurns(w.ingests())()
	stopped := stopAll(ctx, w.ingests())
	offsets, err := w.committed(ctx)
	for partition := range offsets {
		offsets[partition] = max(0, offsets[partition]-rewound/partitions)
	}
	return errors.Join(stopped, err, w.commit(ctx, offsets), startAll(ctx, w.ingests()))
}

// brokerPatience is how long an operator repeats a command while the broker does not answer.
const brokerPatience = 2 * time.Minute

// committed returns the offsets that the group has committed, by partition.
func (w *world) committed(ctx context.Context) (map[int32]int64, error) {
	var offsets map[int32]int64
	err := repeat(ctx, brokerPatience, func(ctx context.Context) error {
		all, err := w.kafka.Committed(ctx, group)
		offsets = all[topic]
		return err
	})
	return offsets, err
}

// commit commits offsets for the group, which must have no members.
func (w *world) commit(ctx context.Context, offsets map[int32]int64) error {
	var failures []error
	for partition, offset := range offsets {
		failures = append(failures, repeat(ctx, brokerPatience, func(ctx context.Context) error {
			return w.kafka.Commit(ctx, group, topic, partition, offset, "")
		}))
	}
	return errors.Join(failures...)
}

// changeTargets changes targets.yaml, once or several times, and restarts each process for it.
func changeTargets(changes ...func(*list)) func(context.Context, *world, *rand.Rand) error {
	return func(ctx context.Context, w *world, _ *rand.Rand) error {
		var failures []error
		for _, change := range changes {
			w.mu.Lock()
			change(&w.list)
			w.mu.Unlock()
			for _, m := range w.members { // worker before ingest, as the documents say
				m.turn.Lock()
				failures = append(failures, m.restart(ctx))
				m.turn.Unlock()
			}
		}
		return errors.Join(failures...)
	}
}

func addTarget(l *list) {
	l.names = append(l.names, extra().name)
	l.added = true
}

// removeTarget retires the target, as the documents say, so that what waits for it becomes dead
// letters.
func removeTarget(l *list) { l.retired = specs()[len(specs())-1].name }
func pauseTarget(l *list)  { l.paused = "compliance" }
func resumeTarget(l *list) { l.paused = "" }
