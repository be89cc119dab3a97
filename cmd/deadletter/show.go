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
	Target string `arg:"" help:"The target of the dead letter."`
	Event  string `arg:"" name:"event-id" help:"The id of its event."`
}

// show prints one open record, its file and run, and the commands that handle it.
func (i *invocation) show(ctx context.Context) error {
	tracker := i.openTracker()
	runURL := i.runURL()
	if err := i.problems.Err(); err != nil {
		return err
	}
	record, err := tracker.Get(i.Show.Target, i.Show.Event)
	if errors.Is(err, fs.ErrNotExist) {
		return i.notOpenError(ctx, tracker, i.Show.Target, i.Show.Event)
	}
	if err != nil {
		return printableError(err)
	}
	document, err := record.JSON()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(i.console.out, "%s\n", i.console.safeJSON(document)); err != nil {
		return err
	}
	table := tabwriter.NewWriter(i.console.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "file\t%s\n", printable(tracker.File(record.TargetName, record.EventID)))
	if record.RunID != "" {
		_, _ = fmt.Fprintf(table, "run\t%s\n", runURL(record))
	}
	for _, step := range nextSteps(record) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", step.Name, step.Value)
	}
	return table.Flush()
}

// notOpenError returns the error for a delivery that has no open record. It names the open
// records of the event for other targets, and the closed ones of the delivery.
func (i *invocation) notOpenError(ctx context.Context, tracker *deadletter.Tracker, target, eventID string) error {
	open, err := tracker.OpenTargets(ctx, eventID)
	if err != nil {
		return err
	}
	hint := "the event has no open dead letter of any target"
	if len(open) > 0 {
		hint = "the event has one of target " + printable(strings.Join(open, ", "))
	}
	for _, folder := range deadletter.Folders() {
		file := filepath.Join(tracker.Path(folder), deadletter.FileName(target, eventID))
		if _, err := os.Stat(file); err == nil {
			hint += "; a " + string(folder) + " one is " + printable(file)
		}
	}
	return fmt.Errorf("target %q has no open dead letter of event %q; %s", target, eventID, hint)
}

// printableError makes the text of an error printable, because the error of a damaged file
// may quote the file.
func printableError(err error) error {
	if errors.As(err, new(*deadletter.DamagedError)) {
		return errors.New(printable(err.Error()))
	}
	return err
}

// nextSteps returns what a user can do about a record: commands, or a cure in words.
func nextSteps(r deadletter.Record) []process.Setting {
	position := process.Setting{Name: "Kafka", Value: printable(fmt.Sprintf("topic %s, partition %d, offset %d", r.Source.Topic, r.Source.Partition, r.Source.Offset))}
	discard := name + " discard " + shellWord(r.TargetName) + " " + shellWord(r.EventID) + " --note TEXT"
	cures := map[string]string{
		event.UndecodableTarget: "the message is not JSON, so it cannot be replayed: decode payload_base64 of the record (base64 -d) or read it in Kafka, and correct the producer",
		event.OversizeTarget: "the message is too large for Temporal, so it cannot be replayed: " +
			"take it from Kafka to its targets by hand, or make the producer send less",
		event.ConflictTarget: "its event id belongs to another event, so it cannot be replayed: " +
			event.ConflictCure + "; send the payload to its targets by hand",
	}
	if cure, ok := cures[r.TargetName]; ok {
		return []process.Setting{position, {Name: "cure", Value: cure}, {Name: "discard", Value: discard}}
	}
	command := name + " replay --target " + shellWord(r.TargetName) + " --event " + shellWord(r.EventID)
	return []process.Setting{{Name: "try", Value: command + " --dry-run"}, {Name: "replay", Value: command}, {Name: "discard", Value: discard}}
}

const (
	localUI = "http://127.0.0.1:8080"
	cloudUI = "https://cloud.temporal.io"
)

// runURL returns a function that makes the address of a record's run in Temporal UI.
func (i *invocation) runURL() func(deadletter.Record) string {
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

// isCloud reports whether an address is one of Temporal Cloud.
func isCloud(address string) bool {
	host := address[strings.LastIndex(address, "/")+1:] // of dns:///host:port
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	return strings.HasSuffix(host, ".tmprl.cloud") || strings.HasSuffix(host, ".api.temporal.io")
}
