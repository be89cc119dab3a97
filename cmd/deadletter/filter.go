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
	Target      string `placeholder:"T" help:"Only dead letters of this target."`
	Type        string `placeholder:"PATTERN" help:"Only those of this event type; * matches any characters, ? one character."`
	Reason      string `placeholder:"R" help:"Only those given up for this reason: rejected, exhausted, expired, canceled, retired, undecodable, oversize or conflict."`
	Event       string `placeholder:"ID" help:"Only those of the event with this id."`
	Interaction string `placeholder:"ID" help:"Only those of the interaction with this id."`
	Since       string `placeholder:"T" help:"Only those given up at this time or later: an RFC 3339 time, or a duration back such as 24h or 7d."`
	Until       string `placeholder:"T" help:"Only those given up before this time, in the same forms."`
}

// filter returns the filter that the flags describe.
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
		Since: parseTime("--since", f.Since, now, problems), Until: parseTime("--until", f.Until, now, problems),
	}
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		problems.Add("--since", strconv.Quote(f.Since)+" is not before --until "+strconv.Quote(f.Until), "choose an earlier --since")
	}
	return filter
}

// parseTime reads an RFC 3339 time, or a duration back from now. An empty value is the zero
// time.
func parseTime(flag, value string, now time.Time, problems *process.Problems) time.Time {
	if value == "" {
		return time.Time{}
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return at
	}
	back := parseDuration(flag, value, "write a time such as 2026-03-14T12:00:00Z, or a duration back such as 90m, 24h or 7d", problems)
	if back == 0 {
		return time.Time{}
	}
	return now.Add(-back)
}

// checkTarget adds a problem if a --target is neither known nor reserved.
func checkTarget(name, where string, known []string, problems *process.Problems) {
	special := event.ReservedTargets()
	if name == "" || slices.Contains(known, name) || slices.Contains(special, name) {
		return
	}
	cure := "there are no targets to choose from"
	if len(known) > 0 {
		quoted := make([]string, len(known))
		for i, one := range known {
			quoted[i] = printable(one)
		}
		cure = "choose one of " + strings.Join(quoted, ", ")
	}
	problems.Add("--target", fmt.Sprintf("%q is not a target of %s", name, where), cure)
}
