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
	All    bool   `help:"All open dead letters, instead of a filter."`
	Rate   string `default:"20/s" help:"Most events to start, as N/s or N/m."`
	DryRun bool   `help:"Print what would be sent, and send nothing."`
	Yes    bool   `help:"Do not ask."`
}

// replay counts, asks, sends, and says what became of the deliveries.
func (i *invocation) replay(ctx context.Context) error {
	selection, rate := i.selection()
	var temporal process.TemporalConfig
	if !i.Replay.DryRun {
		temporal = process.ParseTemporal(i.env, i.problems)
	}
	if err := i.problems.Err(); err != nil {
		return err
	}
	screen := newScreen(i.console)
	plan, err := replay.NewPlan(ctx, selection, screen.line)
	if err != nil {
		return err
	}
	if i.Replay.DryRun {
		return i.dryRun(ctx, plan)
	}
	if err := i.summary(i.console.err, plan); err != nil {
		return err
	}
	counts := replay.Counts{}
	if plan.Deliveries > 0 {
		if !i.Replay.Yes && !i.confirmed(ctx, "Send "+plural(plan.Deliveries, "delivery")+" again?") {
			return errors.New("nothing was sent")
		}
		if counts, err = i.send(ctx, plan, rate, temporal, screen); err != nil {
			return err
		}
	}
	return i.verdict(ctx, plan, counts)
}

// selection reads what is to be sent, and how fast.
func (i *invocation) selection() (replay.Selection, float64) {
	c, problems := i.Replay, i.problems
	s := replay.Selection{Filter: c.filter(time.Now(), problems)}
	switch chosen := s.Filter != (deadletter.Filter{}) || c.Filters != (Filters{}); {
	case !chosen && !c.All:
		problems.Add("--all", "is not given, and no filter is", "choose with --target, --type, --reason, --event, --interaction, --since or --until, or take all with --all")
	case chosen && c.All:
		problems.Add("--all", "is given with a filter", "leave one of the two out")
	}
	rate, err := target.ParseRate(c.Rate)
	if err != nil {
		problems.Add("--rate", err.Error(), "write it as 20/s or 90/m")
	}
	if !c.DryRun {
		i.asking(c.Yes, "add --yes, or see with --dry-run what would be sent")
	}
	problems.Required("FANOUT_TASK_QUEUE", i.TaskQueue, "name the task queue")
	s.Directory = i.tracker()
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

// summary tells what was counted.
func (i *invocation) summary(w io.Writer, plan *replay.Plan) error {
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

// dryRun prints a line for each event that would be sent, and the counts.
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
	return i.summary(i.console.out, plan)
}

func (i *invocation) send(ctx context.Context, plan *replay.Plan, rate float64, temporal process.TemporalConfig, screen *screen) (replay.Counts, error) {
	log := process.Logger(screen, "warn", "text")
	client, err := process.Dial(ctx, process.DialOptions{
		Temporal: temporal, DataConverter: fanout.DataConverter(), Log: log, Health: process.NewHealth(),
	})
	if err != nil {
		return replay.Counts{}, err
	}
	defer client.Close()
	err = process.SearchAttributesUsable(ctx, client, temporal.Options.Namespace, fanout.SearchAttributeKeys())
	if err != nil {
		screen.line("these runs get no search attributes: " + err.Error())
	}
	r := replay.New(plan, replay.Options{
		Client: client, TaskQueue: i.TaskQueue, SearchAttributes: err == nil, Rate: rate, Notify: screen.line,
	})
	stopFollowing := screen.follow(r.ByTarget)
	notStopped := context.AfterFunc(ctx, func() {
		screen.line("stopping: no further run is started; those that are started are waited for. A second Ctrl-C leaves them to Temporal.")
	})
	err = r.Run(ctx)
	notStopped()
	stopFollowing()
	return r.Counts(), err
}

// verdict tells the outcome; the error is for what is not resolved.
func (i *invocation) verdict(ctx context.Context, plan *replay.Plan, c replay.Counts) error {
	if plan.Deliveries > 0 {
		if _, err := fmt.Fprintln(i.console.out, progress(c)); err != nil {
			return err
		}
	}
	var open []string
	note := func(n int, what string) {
		if n > 0 {
			open = append(open, fmt.Sprintf("%d %s", n, what))
		}
	}
	note(c.FailedAgain, "failed again")
	note(c.Skipped, "skipped, as a run of their event is open")
	note(c.Left(), "left")
	excluded := 0
	for _, r := range plan.Excluded {
		excluded += r.Records
	}
	note(excluded, "not sent")
	if len(open) == 0 {
		return nil
	}
	hint := ""
	if c.Left() > 0 && ctx.Err() != nil {
		hint = "; run the same command again to go on"
	}
	return fmt.Errorf("not all is resolved: %s%s", strings.Join(open, ", "), hint)
}
