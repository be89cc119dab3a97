package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/process"
)

type showCommand struct {
	Target string `arg:"" help:"The target."`
	Event  string `arg:"" name:"event-id" help:"The id of the event."`
}

// show prints one record, and where to go from there.
func (i *invocation) show(ctx context.Context) error {
	tracker := i.tracker()
	link := i.link()
	if err := i.problems.Err(); err != nil {
		return err
	}
	record, err := tracker.Get(i.Show.Target, i.Show.Event)
	if errors.Is(err, fs.ErrNotExist) {
		return i.notThere(ctx, tracker, i.Show.Target, i.Show.Event)
	}
	if err != nil {
		return printableError(err)
	}
	document, err := record.JSON()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(i.console.out, "%s\n", i.console.jsonFor(document)); err != nil {
		return err
	}
	table := tabwriter.NewWriter(i.console.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "file\t%s\n", printable(tracker.File(record.TargetName, record.EventID)))
	if record.RunID != "" {
		_, _ = fmt.Fprintf(table, "run\t%s\n", link(record))
	}
	for _, step := range nextSteps(record) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", step.Name, step.Value)
	}
	return table.Flush()
}

// notThere says what the tracker has of the event instead.
func (i *invocation) notThere(ctx context.Context, tracker *deadletter.Directory, target, eventID string) error {
	open, err := tracker.OpenTargets(ctx, eventID)
	if err != nil {
		return err
	}
	hint := "the event has none at all"
	if len(open) > 0 {
		hint = "the event has one of " + printable(strings.Join(open, ", "))
	}
	for _, folder := range deadletter.Folders() {
		file := filepath.Join(tracker.Path(folder), deadletter.FileName(target, eventID))
		if _, err := os.Stat(file); err == nil {
			hint += "; one that was " + string(folder) + " is " + printable(file)
		}
	}
	return fmt.Errorf("target %q has no open dead letter of event %q; %s", target, eventID, hint)
}

// printableError is an error for a terminal: what a damaged file holds may be quoted
// in it.
func printableError(err error) error {
	if errors.As(err, new(*deadletter.DamagedError)) {
		return errors.New(printable(err.Error()))
	}
	return err
}

// nextSteps are what can be done about a record.
func nextSteps(r deadletter.Record) []process.Setting {
	place := process.Setting{Name: "Kafka", Value: printable(fmt.Sprintf("topic %s, partition %d, offset %d", r.Source.Topic, r.Source.Partition, r.Source.Offset))}
	discard := name + " discard " + shellWord(r.TargetName) + " " + shellWord(r.EventID) + " --note TEXT"
	cures := map[string]string{
		event.UndecodableTarget: "it is not JSON, so it cannot be replayed: read it there and correct the producer",
		event.OversizeTarget: "it is too large for Temporal, so it cannot be replayed: " +
			"take it from there to its targets by hand, or make the producer send less",
		event.ConflictTarget: "another event has its event id, so it cannot be replayed: " +
			`set FANOUT_EVENT_ID of ingest to an expression that gives each event an id of its own, such as event.id + "-" + event.type, ` +
			"or correct the producer; send the payload to its targets by hand",
	}
	if cure, ok := cures[r.TargetName]; ok {
		return []process.Setting{place, {Name: "cure", Value: cure}, {Name: "discard", Value: discard}}
	}
	command := name + " replay --target " + shellWord(r.TargetName) + " --event " + shellWord(r.EventID)
	return []process.Setting{{Name: "try", Value: command + " --dry-run"}, {Name: "replay", Value: command}, {Name: "discard", Value: discard}}
}

const (
	localUI = "http://127.0.0.1:8080"
	cloudUI = "https://cloud.temporal.io"
)

// link makes the address of a run in Temporal UI.
func (i *invocation) link() func(deadletter.Record) string {
	temporal := process.ParseTemporal(i.env, i.problems)
	base := i.UI
	switch {
	case base != "":
		ui := i.problems.WebURL("TEMPORAL_UI_URL", base)
		base = (&url.URL{Scheme: ui.Scheme, Host: ui.Host, Path: ui.Path}).String() // without a password
	case isCloud(temporal.Options.HostPort):
		base = cloudUI
	default:
		base = localUI
	}
	return func(r deadletter.Record) string {
		return fmt.Sprintf("%s/namespaces/%s/workflows/%s/%s/history", strings.TrimRight(base, "/"),
			url.PathEscape(temporal.Options.Namespace), url.PathEscape(r.WorkflowID), url.PathEscape(r.RunID))
	}
}

// isCloud is true for the addresses of Temporal Cloud.
func isCloud(address string) bool {
	host := address[strings.LastIndex(address, "/")+1:] // of dns:///host:port
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	return strings.HasSuffix(host, ".tmprl.cloud") || strings.HasSuffix(host, ".api.temporal.io")
}
