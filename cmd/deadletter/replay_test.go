package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
	"genesys-fanout/internal/devstack"
	"genesys-fanout/internal/devstack/fixture"
	"genesys-fanout/internal/process"
	"genesys-fanout/replay"
)

func asExit(err error, exit **process.ExitError) bool { return errors.As(err, exit) }

func TestReplay_DryRunShowsTheRunsAndNeedsNoTemporal(t *testing.T) {
	d := newDesk(t)
	d.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1" // nothing listens there
	d.record("b", "evt-1", nil)
	d.record("a", "evt-1", nil)
	d.record("old", "evt-1", nil)
	out, errs, code := d.run("replay", "--event", "evt-1", "--dry-run")
	assert.Zero(t, code, errs)
	assert.Equal(t, `evt-1  conversation.started  → a, b
+--------+----------+---------+
| TARGET | REASON   | RECORDS |
+--------+----------+---------+
| a      | rejected |       1 |
| b      | rejected |       1 |
+--------+----------+---------+
|        | IN ALL   |       2 |
+--------+----------+---------+
old: 1 not sent: targets.yaml has no such target; add it there, or close its records with deadletter discard
2 deliveries in 1 run, at most 20/s
`, out)
	assert.Empty(t, errs)
}

func TestReplay_WithNothingToSend(t *testing.T) {
	d := newDesk(t)
	_, errs, code := d.run("replay", "--all", "--yes")
	assert.Zero(t, code)
	assert.Equal(t, "nothing to send\n", errs)

	d.record(event.UndecodableTarget, "evt-1", nil)
	_, errs, code = d.run("replay", "--target", event.UndecodableTarget, "--yes")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "_undecodable evt-1: Kafka topic t, partition 3, offset 42\n")
	assert.Contains(t, errs, "not all chosen records are resolved: 1 not sent\n")
}

func TestReplay_SendsNothingWithoutTheAnswerYes(t *testing.T) {
	d := newDesk(t)
	d.record("a", "evt-1", nil)
	d.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
	d.console.interactive = true
	for _, answer := range []string{"", "\n", "n\n", "no\n", "yet\n"} {
		d.console.in = strings.NewReader(answer)
		_, errs, code := d.run("replay", "--all")
		assert.Equal(t, 1, code)
		assert.Contains(t, errs, "1 delivery in 1 run, at most 20/s\nSend 1 delivery again? [y/N] nothing was sent\n")
	}
	silent, stop := io.Pipe()
	defer func() { _ = stop.Close() }()
	d.console.in = silent
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, errs, code := d.runUntil(ctx, "replay", "--all")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "nothing was sent\n")
}

// serve starts Temporal, the workers and the scripted target a.
func serve(t *testing.T, script devstack.Script) *desk {
	t.Helper()
	f := fixture.New(t, fixture.Options{Targets: `
targets:
  - name: a
    url: $a
`})
	f.Targets["a"].SetScript(script)
	f.StartWorkers()
	d := newDeskOf(t, f.Tracker, f.TargetsYAML)
	d.env["TEMPORAL_ADDRESS"] = f.Server.Address()
	return d
}

// TestReplay_ExitCodeSaysWhetherEachDeliverySucceeded checks the exit code, the counts and the
// tracker after a replay.
func TestReplay_ExitCodeSaysWhetherEachDeliverySucceeded(t *testing.T) {
	d := serve(t, func(r devstack.Request) devstack.Answer {
		if r.EventID == "evt-2" {
			return devstack.Answer{Status: http.StatusUnprocessableEntity}
		}
		return devstack.Answer{}
	})
	d.record("a", "evt-1", nil)
	d.record("a", "evt-2", nil)
	out, errs, code := d.run("replay", "--target", "a", "--yes", "--rate", "100/s")
	assert.Equal(t, 1, code)
	assert.Equal(t, "sent 2, delivered 1, failed again 1, skipped 0, left 0\n", out)
	assert.Contains(t, errs, "| a      | rejected |       2 |")
	assert.Contains(t, errs, "the runs get no search attributes, so filters of Temporal UI do not find them: namespace default does not have ChannelType")
	assert.Contains(t, errs, "not all chosen records are resolved: 1 failed again\n")

	d.record("a", "evt-3", nil)
	d.console.interactive, d.console.in, d.console.errTerminal = true, strings.NewReader("Y\n"), true
	out, errs, code = d.run("replay", "--event", "evt-3")
	assert.Zero(t, code, errs)
	assert.Equal(t, "sent 1, delivered 1, failed again 0, skipped 0, left 0\n", out)
	assert.Contains(t, errs, "100%")
	_, err := d.tracker.Get("a", "evt-2")
	require.NoError(t, err, "the filter did not choose it")
}

// TestReplay_ASignalLeavesTheRest checks that the command says how to continue.
func TestReplay_ASignalLeavesTheRest(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	d := serve(t, func(devstack.Request) devstack.Answer {
		stop()
		return devstack.Answer{}
	})
	for i := range 5 {
		d.record("a", fmt.Sprint("evt-", i), nil)
	}
	out, errs, code := d.runUntil(ctx, "replay", "--all", "--yes", "--rate", "1/s")
	assert.Equal(t, 1, code)
	assert.Equal(t, "sent 1, delivered 1, failed again 0, skipped 0, left 4\n", out)
	assert.Contains(t, errs, "stopping: no further run is started")
	assert.Contains(t, errs, "not all chosen records are resolved: 4 left; run the same command again to continue\n")
}

// TestScreen_KeepsLinesAndTheBarApart checks also that control characters are printed harmlessly.
func TestScreen_KeepsLinesAndTheBarApart(t *testing.T) {
	var out bytes.Buffer
	s := newDisplay(console{err: &out, errTerminal: true})
	s.printLine("a\x1b[2Jb")
	assert.Equal(t, "a\\x1b[2Jb\n", out.String())
	stop := s.showProgress(func() replay.ByTarget { return replay.ByTarget{"a": {Deliveries: 4, Sent: 3, Delivered: 1}} })
	s.printLine("between")
	stop()
	assert.Contains(t, out.String(), "between\n")
	assert.Contains(t, out.String(), "sent 3, delivered 1, failed again 0, skipped 0, left 3")
	assert.Contains(t, out.String(), "25%")
}

// TestProgress_ShowsEachTarget checks that the bar and the counts of two targets fit into a line of
// 80 columns.
func TestProgress_ShowsEachTarget(t *testing.T) {
	two := replay.ByTarget{"mended": {Deliveries: 400, Sent: 400, Delivered: 398, FailedAgain: 2}, "down": {Deliveries: 400, Sent: 400}}
	many := replay.ByTarget{"down": {Deliveries: 9, Sent: 1}}
	for i := range 12 {
		many[fmt.Sprintf("target-%02d", i)] = replay.Counts{Deliveries: 1, Sent: 1, Delivered: 1}
	}
	for name, test := range map[string]struct {
		counts replay.ByTarget
		width  int
		want   string
	}{
		"one target": {replay.ByTarget{"a": {Deliveries: 4, Sent: 3, Delivered: 1}}, 60, "sent 3, delivered 1, failed again 0, skipped 0, left 3"},
		"a line":     {two, 0, "sent 800, delivered 398, failed again 2, skipped 0, left 400; down 0 of 400, mended 398 of 400 (2 failed again)"},
		"80 columns": {two, 60, "down 0 of 400, mended 398 of 400 (2 failed again)"},
		"40 columns": {two, 20, "down 0 of 400, 1 more"},
		"many":       {many, 60, "down 0 of 9, target-00 1 of 1, target-01 1 of 1, 10 more"},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, progressText(test.counts, test.width)) })
	}
	assert.Contains(t, progressText(many, 0), "target-08 1 of 1, 3 more")
	var out bytes.Buffer
	s := newDisplay(console{err: &out, errTerminal: true, errWidth: 80})
	s.showProgress(func() replay.ByTarget { return two })()
	assert.Contains(t, out.String(), "\rdown 0 of 400, mended 398 of 400 (2 failed again)  50% |█████     |")
}
