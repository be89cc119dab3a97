package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"genesys-fanout/deadletter"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/process"
	"genesys-fanout/replay"
	"genesys-fanout/target"
)

type replayCommand struct {
	Filters
	All    bool   `help:"Choose all open dead letters. Required if no filter is given."`
	Rate   string `default:"20/s" help:"At most this many events a second or a minute, as N/s or N/m."`
	DryRun bool   `help:"Print what would be sent, and send nothing."`
	Yes    bool   `help:"Do not ask for confirmation."`
}

// replay counts the chosen records, asks for confirmation, sends the records, and prints the
// outcomes.
func (i *invocation) replay(ctx context.Context) error {
	selection, rate := i.parseSelection()
	var temporal process.TemporalConfig
	if !i.Replay.DryRun {
		temporal = process.ParseTemporal(i.env, i.problems)
	}
	if err := i.problems.Err(); err != nil {
		return err
	}
	display := newDisplay(i.console)
	plan, err := replay.NewPlan(ctx, selection, display.printLine)
	if err != nil {
		return err
	}
	if i.Replay.DryRun {
		return i.dryRun(ctx, plan)
	}
	if err := i.printSummary(i.console.err, plan); err != nil {
		return err
	}
	counts := replay.Counts{}
	if plan.Deliveries > 0 {
		if !i.Replay.Yes && !i.confirm(ctx, "Send "+plural(plan.Deliveries, "delivery")+" again?") {
			return errors.New("nothing was sent")
		}
		if counts, err = i.send(ctx, plan, rate, temporal, display); err != nil {
			return err
		}
	}
	return i.printOutcome(ctx, plan, counts)
}

// parseSelection reads which records are to be sent, and the limit of events a second.
func (i *invocation) parseSelection() (replay.Selection, float64) {
	c, problems := i.Replay, i.problems
	s := replay.Selection{Filter: c.filter(time.Now(), problems)}
	switch chosen := s.Filter != (deadletter.Filter{}) || c.Filters != (Filters{}); {
	case !chosen && !c.All:
		problems.Add("--all", "is not given, and no filter is given", "choose with --target, --type, --reason, --event, --interaction, --since or --until, or choose all with --all")
	case chosen && c.All:
		problems.Add("--all", "is given together with a filter", "leave one of the two out")
	}
	rate, err := target.ParseRate(c.Rate)
	if err != nil {
		problems.Add("--rate", err.Error(), "write it as 20/s or 90/m")
	}
	if !c.DryRun {
		i.requireConfirmable(c.Yes, "add --yes; --dry-run shows what would be sent")
	}
	problems.Required("FANOUT_TASK_QUEUE", i.TaskQueue, "name the task queue")
	s.Tracker = i.openTracker()
	if s.Targets, err = target.Load(i.Targets, nil); err != nil {
		problems.AddError(err)
		return s, rate
	}
	var names []string
	for _, t := range s.Targets.All() {
		names = append(names, t.Name())
	}
	checkTarget(s.Filter.Target, i.Targets, names, problems)
	return s, rate
}

// printSummary prints what would be sent, and which records are not sent.
func (i *invocation) printSummary(w io.Writer, plan *replay.Plan) error {
	var lines []string
	if plan.Deliveries > 0 {
		lines = append(lines, kindsTable(plan.Kinds, plan.Deliveries))
	}
	for _, excluded := range plan.Excluded {
		lines = append(lines, printable(excluded.String()))
	}
	if plan.Deliveries == 0 {
		lines = append(lines, "nothing to send")
	} else {
		lines = append(lines, fmt.Sprintf("%s in %s, at most %s", plural(plan.Deliveries, "delivery"), plural(plan.Events, "run"), i.Replay.Rate))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// dryRun prints a line for each event that would be sent, and then the summary.
func (i *invocation) dryRun(ctx context.Context, plan *replay.Plan) error {
	for e, err := range plan.Each(ctx) {
		if err != nil {
			return err
		}
		slices.Sort(e.Targets)
		_, err = fmt.Fprintf(i.console.out, "%s  %s  → %s\n", printable(e.ID), printable(e.Type), strings.Join(e.Targets, ", "))
		if err != nil {
			return err
		}
	}
	return i.printSummary(i.console.out, plan)
}

func (i *invocation) send(ctx context.Context, plan *replay.Plan, rate float64, temporal process.TemporalConfig, display *progressDisplay) (replay.Counts, error) {
	log := process.Logger(display, "warn", "text")
	client, err := process.Dial(ctx, process.DialOptions{
		Temporal: temporal, DataConverter: fanout.DataConverter(), Log: log, Health: process.NewHealth(),
	})
	if err != nil {
		return replay.Counts{}, err
	}
	defer client.Close()
	err = process.SearchAttributesUsable(ctx, client, temporal.Options.Namespace, fanout.SearchAttributeKeys())
	if err != nil {
		display.printLine("the runs get no search attributes, so filters of Temporal UI do not find them: " + err.Error())
	}
	r := replay.New(plan, replay.Options{
		Client: client, TaskQueue: i.TaskQueue, SearchAttributes: err == nil, Rate: rate, Notify: display.printLine,
	})
	stopProgress := display.showProgress(r.ByTarget)
	removeStopLine := context.AfterFunc(ctx, func() {
		display.printLine("stopping: no further run is started. Waiting for the runs that are started; a second Ctrl-C leaves them to Temporal.")
	})
	err = r.Run(ctx)
	removeStopLine()
	stopProgress()
	return r.Counts(), err
}

// printOutcome prints the counts. The error names the records that are not resolved, nil if
// all are.
func (i *invocation) printOutcome(ctx context.Context, plan *replay.Plan, c replay.Counts) error {
	if plan.Deliveries > 0 {
		if _, err := fmt.Fprintln(i.console.out, countsText(c)); err != nil {
			return err
		}
	}
	var unresolved []string
	add := func(n int, outcome string) {
		if n > 0 {
			unresolved = append(unresolved, fmt.Sprintf("%d %s", n, outcome))
		}
	}
	add(c.FailedAgain, "failed again")
	add(c.Skipped, "skipped, because a run of their event is open")
	add(c.Left(), "left")
	excluded := 0
	for _, r := range plan.Excluded {
		excluded += r.Records
	}
	add(excluded, "not sent")
	if len(unresolved) == 0 {
		return nil
	}
	hint := ""
	if c.Left() > 0 && ctx.Err() != nil {
		hint = "; run the same command again to continue"
	}
	return fmt.Errorf("not all chosen records are resolved: %s%s", strings.Join(unresolved, ", "), hint)
}
