package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/process"
)

// Filters are the flags that choose records.
type Filters struct {
	Target      string `placeholder:"T" help:"Of this target."`
	Type        string `placeholder:"PATTERN" help:"Of this event type; * is any run of characters, ? one."`
	Reason      string `placeholder:"R" help:"Given up for this reason: rejected, exhausted, expired, canceled, retired, undecodable, oversize or conflict."`
	Event       string `placeholder:"ID" help:"Of this event."`
	Interaction string `placeholder:"ID" help:"Of this interaction."`
	Since       string `placeholder:"T" help:"Given up then or later: an RFC 3339 time, or a duration back such as 24h or 7d."`
	Until       string `placeholder:"T" help:"Given up before then."`
}

// filter reads the flags.
func (f Filters) filter(now time.Time, problems *process.Problems) deadletter.Filter {
	if f.Reason != "" {
		var reasons []string
		for _, reason := range event.Reasons() {
			reasons = append(reasons, string(reason))
		}
		problems.OneOf("--reason", f.Reason, reasons...)
	}
	filter := deadletter.Filter{
		Target: f.Target, Type: f.Type, Reason: event.Reason(f.Reason), EventID: f.Event, InteractionID: f.Interaction,
		Since: moment("--since", f.Since, now, problems), Until: moment("--until", f.Until, now, problems),
	}
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		problems.Add("--since", strconv.Quote(f.Since)+" is not before --until "+strconv.Quote(f.Until), "choose an earlier --since")
	}
	return filter
}

// moment reads an RFC 3339 time or a duration back from now; zero for nothing.
func moment(flag, value string, now time.Time, problems *process.Problems) time.Time {
	if value == "" {
		return time.Time{}
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return at
	}
	back := duration(flag, value, "write a time such as 2026-03-14T12:00:00Z, or a duration back such as 90m, 24h or 7d", problems)
	if back == 0 {
		return time.Time{}
	}
	return now.Add(-back)
}

// checkTarget refuses a --target that is none of the known ones.
func checkTarget(name, where string, known []string, problems *process.Problems) {
	special := event.ReservedTargets()
	if name == "" || slices.Contains(known, name) || slices.Contains(special, name) {
		return
	}
	cure := "there is none to choose"
	if len(known) > 0 {
		quoted := make([]string, len(known))
		for i, one := range known {
			quoted[i] = printable(one)
		}
		cure = "choose one of " + strings.Join(quoted, ", ")
	}
	problems.Add("--target", fmt.Sprintf("%q is no target of %s", name, where), cure)
}
