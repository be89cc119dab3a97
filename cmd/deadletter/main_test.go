package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/fanout"
	"genesys-fanout/internal/process"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// desk runs the command with a tracker and a targets file, and keeps its output.
type desk struct {
	t       *testing.T
	tracker *deadletter.Tracker
	env     process.Env
	console console
	out     *bytes.Buffer
	err     *bytes.Buffer
}

// newDesk returns a desk with a new tracker and the targets a and b.
func newDesk(t *testing.T) *desk {
	t.Helper()
	tracker, err := deadletter.Open(filepath.Join(t.TempDir(), "dead-letters"))
	require.NoError(t, err)
	return newDeskOf(t, tracker, `
targets:
  - name: a
    url: http://h/
  - name: b
    url: http://h/
`)
}

func newDeskOf(t *testing.T, tracker *deadletter.Tracker, targets string) *desk {
	t.Helper()
	file := filepath.Join(t.TempDir(), "targets.yaml")
	require.NoError(t, os.WriteFile(file, []byte(targets), 0o600))
	d := &desk{t: t, tracker: tracker, out: new(bytes.Buffer), err: new(bytes.Buffer)}
	d.env = process.Env{"FANOUT_DEAD_LETTERS": filepath.Dir(tracker.File("a", "evt-1")), "FANOUT_TARGETS": file}
	d.console = console{in: strings.NewReader(""), out: d.out, err: d.err}
	return d
}

// record records a dead letter. change may alter it first; it may be nil.
func (d *desk) record(target, id string, change func(*deadletter.Record)) deadletter.Record {
	d.t.Helper()
	r := deadletter.Record{
		EventID: id, TargetName: target, Error: "422 Unprocessable Entity:\n <no>", Reason: event.ReasonRejected, StatusCode: 422, Attempts: 1, Timestamp: noon,
		EventType: "conversation.started", InteractionID: "i-1", WorkflowID: "event-" + event.Escape(id), RunID: "run-1",
		Source: event.Source{Topic: "t", Partition: 3, Offset: 42},
	}
	deadletter.SetPayload(&r, []byte(`{"event_id":"`+id+`","text":"a < b & c"}`))
	if change != nil {
		change(&r)
	}
	require.NoError(d.t, d.tracker.Record(d.t.Context(), r))
	return r
}

// closedLine returns the last line of list, which names the folders of closed records.
func (d *desk) closedLine() string {
	path := d.env["FANOUT_DEAD_LETTERS"]
	return "closed records: " + path + "/superseded, " + path + "/resolved, " + path + "/discarded\n"
}

// damage makes the record of a delivery unreadable.
func (d *desk) damage(target, id string) (file string) {
	d.t.Helper()
	file = d.tracker.File(target, id)
	require.NoError(d.t, os.WriteFile(file, []byte("{"), 0o600))
	return file
}

// run runs the command. stderr includes the error that ended it.
func (d *desk) run(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	return d.runUntil(d.t.Context(), args...)
}

func (d *desk) runUntil(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	d.out.Reset()
	d.err.Reset()
	if err := run(ctx, args, d.env, d.console); err != nil {
		code = process.ExitFailure
		var exit *process.ExitError
		if asExit(err, &exit) {
			code = exit.Code
		}
		d.err.WriteString(err.Error() + "\n")
	}
	return d.out.String(), d.err.String(), code
}

// The default of FANOUT_TASK_QUEUE is a literal in a struct tag of settings.
func TestSettings_TaskQueueIsFanoutsByDefault(t *testing.T) {
	var s settings
	_, done, problems := process.ParseCommand(process.App{Name: name}, &s, []string{"list"}, process.Env{}, new(bytes.Buffer))
	require.False(t, done)
	require.NoError(t, problems.Err())
	assert.Equal(t, fanout.DefaultTaskQueue, s.TaskQueue)
}

func TestListTable(t *testing.T) {
	d := newDesk(t)
	out, errs, code := d.run("list")
	assert.Zero(t, code, errs)
	assert.Equal(t, "TIME                  TARGET  REASON       STATUS  ATTEMPTS  EVENT TYPE                                          EVENT ID                              ERROR\n\nno open dead letters\n"+d.closedLine(), out)

	d.record("compliance-service", "evt-1", nil)
	d.record("a", "evt-1", func(r *deadletter.Record) {
		r.Reason, r.StatusCode, r.Error = event.ReasonExpired, 0, "max_age has passed"
	})
	out, errs, code = d.run("list", "--target", "compliance-service")
	assert.Zero(t, code, errs)
	assert.Equal(t, `TIME                  TARGET              REASON       STATUS  ATTEMPTS  EVENT TYPE                                          EVENT ID                              ERROR
2026-03-14T12:00:00Z  compliance-service  rejected     422     1         conversation.started                                evt-1                                 422 Unprocessable Entity: <no>

+--------------------+----------+---------+
| TARGET             | REASON   | RECORDS |
+--------------------+----------+---------+
| compliance-service | rejected |       1 |
+--------------------+----------+---------+
|                    | IN ALL   |       1 |
+--------------------+----------+---------+
`+d.closedLine(), out)
	out, _, _ = d.run("list", "--reason", "expired")
	assert.Contains(t, out, "2026-03-14T12:00:00Z  a                   expired      -       1  ")
	assert.NotContains(t, out, "rejected ")

	const detail = "v2.detail.events.conversation.{id}.voicemail.start"
	d.record("compliance-service", "evt-1", func(r *deadletter.Record) { r.EventType = detail })
	out, _, _ = d.run("list", "--target", "compliance-service")
	assert.Contains(t, out, "  "+detail+"  evt-1  ")
	d.record(event.UndecodableTarget, "evt-9", func(r *deadletter.Record) {
		r.Reason, r.Error, r.Source = event.ReasonUndecodable, "no JSON", event.Source{Topic: "t", Partition: 3, Offset: 42}
	})
	out, _, _ = d.run("list", "--target", event.UndecodableTarget)
	assert.Contains(t, out, "  topic t, partition 3, offset 42: no JSON\n")
	d.console.outWidth = 164
	out, _, _ = d.run("list", "--target", "compliance-service")
	assert.Contains(t, out, "  …on.{id}.voicemail.start  evt-1  ")
	assert.Contains(t, out, "422 Unprocessable Entity: …\n")
	d.console.outWidth = 80
	out, _, _ = d.run("list", "--target", "compliance-service")
	assert.Contains(t, out, "  evt-1\n", "the id is never cut")
}

func TestListJSON(t *testing.T) {
	d := newDesk(t)
	out, _, code := d.run("list", "--json")
	assert.Zero(t, code)
	assert.JSONEq(t, "[]", out)

	want := map[string]deadletter.Record{}
	for _, id := range []string{"evt-1", "evt-2", "a\x1b[31mü\u0085"} {
		want[id] = d.record("a", id, nil)
	}
	exact := d.record("a", "evt-4", func(r *deadletter.Record) { deadletter.SetPayload(r, []byte(`{ "n": 1.0 }`)) })
	want["evt-4"] = exact
	for _, width := range []int{0, 80} {
		d.console.outWidth = width
		out, _, code = d.run("list", "--json")
		assert.Zero(t, code)
		var got []deadletter.Record
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		require.Len(t, got, len(want))
		for _, r := range got {
			kept := want[r.EventID]
			assert.Equal(t, kept.Message(), r.Message())
			r.Payload, r.PayloadBase64, kept.Payload, kept.PayloadBase64 = nil, nil, nil, nil // one message, perhaps with other white space
			assert.Equal(t, kept, r)
		}
		assert.Contains(t, out, `"text":"a < b & c"}`)
	}
	assertHarmless(t, out)
}

// assertHarmless: nothing but text and its lines reaches a terminal.
func assertHarmless(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		assert.Equal(t, line, printable(line))
	}
}

func TestHostileNamesAreHarmless(t *testing.T) {
	d := newDesk(t)
	const evil = "evt\x1b]0;x\x07\r\n\u202e\u009bend"
	d.record("a", evil, func(r *deadletter.Record) { r.EventType, r.Error = "type\x1b[2J", "\x1b[31mred\x00" })
	d.console.outWidth = 200
	out, _, code := d.run("list")
	assert.Zero(t, code)
	assertHarmless(t, out)
	assert.Contains(t, out, `evt\x1b]0;x\a\r\n\u202e\u009bend`)
	out, errs, code := d.run("show", "a", evil)
	assert.Zero(t, code, errs)
	assertHarmless(t, out)
	assert.Contains(t, out, `--event $'evt\x1b]0;x\x07\x0d\x0a\xe2\x80\xae\xc2\x9bend'`)
	_, errs, code = d.run("show", "a", "other"+evil)
	assert.Equal(t, 1, code)
	assertHarmless(t, errs)
	_, errs, code = d.run("list", "--target", evil)
	assert.Equal(t, 2, code)
	assertHarmless(t, errs)
}

func TestDamagedFilesAreNamedAndTheOthersGoOn(t *testing.T) {
	d := newDesk(t)
	d.record("a", "evt-1", nil)
	file := d.damage("a", "evt-2")
	for _, args := range [][]string{{"list"}, {"list", "--json"}} {
		out, errs, code := d.run(args...)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "evt-1")
		assert.Contains(t, errs, file+": damaged dead letter")
		assert.Contains(t, errs, "1 file cannot be read and is named above")
	}
	_, errs, code := d.run("show", "a", "evt-2")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "repair the file or move it away")
}

func TestShow(t *testing.T) {
	d := newDesk(t)
	record := d.record("compliance-service", "evt 1/2", nil)
	out, errs, code := d.run("show", "compliance-service", "evt 1/2")
	assert.Zero(t, code, errs)
	file := d.tracker.File("compliance-service", "evt 1/2")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(out, string(content)), out)
	assert.Equal(t, `
file     `+file+`
run      http://127.0.0.1:8080/namespaces/default/workflows/event-evt%25201%2F2/run-1/history
try      deadletter replay --target compliance-service --event 'evt 1/2' --dry-run
replay   deadletter replay --target compliance-service --event 'evt 1/2'
discard  deadletter discard compliance-service 'evt 1/2' --note TEXT
`, strings.TrimPrefix(out, string(content)))
	assert.Equal(t, "event-evt%201/2", record.WorkflowID)

	_, errs, code = d.run("show", "compliance-service", "evt-2")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "the event has no open dead letter of any target")
	_, errs, _ = d.run("show", "analytics", "evt 1/2")
	assert.Contains(t, errs, "the event has one of target compliance-service")

	for _, target := range event.ReservedTargets() {
		d.record(target, "evt-3", nil)
		out, _, code = d.run("show", target, "evt-3")
		assert.Zero(t, code)
		assert.Contains(t, out, "topic t, partition 3, offset 42")
		assert.Contains(t, out, "\ndiscard  deadletter discard "+target+" evt-3 --note TEXT\n")
		assert.NotContains(t, out, "deadletter replay")
	}
	out, _, _ = d.run("show", event.ConflictTarget, "evt-3")
	assert.Contains(t, out, "FANOUT_EVENT_ID")
}

// TestShow_FindsACutIDAsListed: a message that was too large may have an id of which
// the record holds the bounded form.
func TestShow_FindsACutIDAsListed(t *testing.T) {
	d := newDesk(t)
	whole := "/" + strings.Repeat("\u2028", 100)
	d.record(event.OversizeTarget, event.Cut(whole), func(r *deadletter.Record) { r.InteractionID = event.Cut(whole) })
	d.record(event.OversizeTarget, "evt-1", nil)
	out, errs, code := d.run("list")
	assert.Zero(t, code, errs)
	assert.Contains(t, out, event.Escape(whole))
	for _, id := range []string{whole, event.Escape(whole)} {
		for _, args := range [][]string{{"show", event.OversizeTarget, id}, {"list", "--event", id}, {"list", "--interaction", id}} {
			out, errs, code := d.run(args...)
			assert.Zero(t, code, errs)
			assert.Contains(t, out, event.Escape(whole), args)
			assert.NotContains(t, out, "evt-1")
		}
	}
}

func TestLinksToTemporalUI(t *testing.T) {
	for _, test := range []struct {
		env  process.Env
		want string
	}{
		{process.Env{"TEMPORAL_NAMESPACE": "a b"}, "http://127.0.0.1:8080/namespaces/a%20b/"},
		{process.Env{"TEMPORAL_UI_URL": "https://u:hunter2@ui.internal/temporal/"}, "https://ui.internal/temporal/namespaces/default/"},
		{process.Env{"TEMPORAL_ADDRESS": "x.abc.tmprl.cloud:7233"}, "https://cloud.temporal.io/namespaces/default/"},
		{process.Env{"TEMPORAL_ADDRESS": "dns:///eu.aws.api.temporal.io:7233"}, "https://cloud.temporal.io/namespaces/default/"},
		{process.Env{"TEMPORAL_ADDRESS": "tmprl.cloud.internal:7233"}, "http://127.0.0.1:8080/namespaces/default/"},
	} {
		d := newDesk(t)
		d.record("a", "evt-1", nil)
		maps.Copy(d.env, test.env)
		out, errs, code := d.run("show", "a", "evt-1")
		assert.Zero(t, code, errs)
		assert.Contains(t, out, "run      "+test.want)
		assert.NotContains(t, out, "hunter2")
	}
}

// TestListAndShowNeedNoTargetsFile, nor Temporal.
func TestListAndShowNeedNoTargetsFile(t *testing.T) {
	d := newDesk(t)
	d.env["FANOUT_TARGETS"] = "/nonexistent/targets.yaml"
	d.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
	d.record("a", "evt-1", nil)
	for _, args := range [][]string{{"list"}, {"list", "--target", "a"}, {"show", "a", "evt-1"}, {"list", "--target", "_oversize"}} {
		_, errs, code := d.run(args...)
		assert.Zero(t, code, errs)
	}
	_, errs, code := d.run("list", "--target", "b")
	assert.Equal(t, 2, code)
	assert.Equal(t, "--target: \"b\" is not a target of the tracker, and /nonexistent/targets.yaml cannot be read; choose one of a\n", errs)
}

func TestUsage(t *testing.T) {
	d := newDesk(t)
	d.record("old", "evt-1", nil)
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"list", "--target", "x"}, []string{`--target: "x" is not a target of ` + d.env["FANOUT_TARGETS"] + ` or the tracker; choose one of a, b, old`}},
		{[]string{"list", "--since", "yesterday"}, []string{`--since: "yesterday" cannot be read; write a time such as`}},
		{[]string{"list", "--since=-1h", "--until", "1", "--reason", "bad"}, []string{"--reason: ", "--since: ", "--until: "}},
		{[]string{"list", "--since", "1h", "--until", "2h"}, []string{`--since: "1h" is not before --until "2h"`}},
		{[]string{"replay"}, []string{"--all: is not given, and no filter is given", "--yes: is not given"}},
		{[]string{"replay", "--target", "", "--yes"}, []string{"--all: is not given"}},
		{[]string{"replay", "--all", "--type", "*", "--yes"}, []string{"--all: is given together with a filter"}},
		{[]string{"replay", "--all"}, []string{"--yes: is not given, and there is no terminal to ask on"}},
		{[]string{"replay", "--target", "old", "--yes"}, []string{`--target: "old" is not a target of ` + d.env["FANOUT_TARGETS"] + `; choose one of a, b`}},
		{[]string{"replay", "--all", "--yes", "--rate", "20"}, []string{`--rate: "20" is not a rate; write it as 20/s or 90/m`}},
		{[]string{"replay", "--all", "--yes", "--targets", "/nonexistent", "--dead-letters", "/nonexistent"}, []string{"FANOUT_DEAD_LETTERS: ", "/nonexistent: cannot be read"}},
		{[]string{"discard", "--note", "x"}, []string{"TARGET: is not given, and no filter is given; name one record as TARGET EVENT_ID, or choose with --target"}},
		{[]string{"discard", "old", "--note", "x"}, []string{"EVENT_ID: is not given"}},
		{[]string{"discard", "old", "evt-1", "--reason", "rejected", "--note", "x", "--yes"}, []string{"TARGET: is given together with a filter"}},
		{[]string{"discard", "old", "evt-1"}, []string{"--note: is not set; say why nobody will send it"}},
		{[]string{"discard", "old", "evt-1", "--note", "  "}, []string{"--note: is not set"}},
		{[]string{"discard", "--target", "old", "--note", "x"}, []string{"--yes: is not given, and there is no terminal to ask on"}},
		{[]string{"discard", "--target", "x", "--since", "1w", "--yes"}, []string{`--since: "1w" cannot be read`, `--target: "x" is not a target`, "--note: is not set"}},
		{[]string{"prune", "--yes"}, []string{"--older-than: is not set; say how old a record must be, such as 90d"}},
		{[]string{"prune", "--older-than", "90", "--yes"}, []string{`--older-than: "90" cannot be read; write a duration such as 90d or 36h`}},
		{[]string{"prune", "--older-than", "0d", "--yes"}, []string{`--older-than: "0d" cannot be read`}},
		{[]string{"prune", "--older-than", "1d"}, []string{"--yes: is not given, and there is no terminal to ask on"}},
		{[]string{"list", "--dead-letters", "off"}, []string{"FANOUT_DEAD_LETTERS: is off"}},
		{[]string{"show", "old", "evt-1", "--temporal-ui-url", "h:1"}, []string{"TEMPORAL_UI_URL: is not an absolute http or https URL"}},
	} {
		out, errs, code := d.run(test.args...)
		assert.Equal(t, process.ExitUsage, code, test.args)
		assert.Empty(t, out)
		got := strings.Split(strings.TrimSpace(errs), "\n")
		require.Len(t, got, len(test.want), errs)
		for n, want := range test.want {
			assert.Contains(t, got[n], want)
		}
	}
	d.env["FANOUT_TYPO"] = "1"
	d.env["FANOUT_MAX_STARTS"] = "of ingest"
	_, errs, code := d.run("list")
	assert.Equal(t, process.ExitUsage, code)
	assert.Equal(t, "FANOUT_TYPO: is not a setting; correct the name or unset it; --help lists the settings\n", errs)
}

func TestParseTime(t *testing.T) {
	problems := &process.Problems{}
	assert.Equal(t, noon.Add(-90*time.Minute), parseTime("--since", "90m", noon, problems))
	assert.Equal(t, noon.Add(-7*24*time.Hour), parseTime("--since", "7d", noon, problems))
	assert.True(t, noon.Equal(parseTime("--since", "2026-03-14T13:00:00+01:00", time.Time{}, problems)))
	assert.True(t, parseTime("--since", "", noon, problems).IsZero())
	require.NoError(t, problems.Err())
}

func TestASignalIsNoSuccess(t *testing.T) {
	d := newDesk(t)
	d.record("a", "evt-1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"list"}, {"replay", "--all", "--yes"}} {
		_, errs, code := d.runUntil(ctx, args...)
		assert.Equal(t, process.ExitFailure, code)
		assert.Equal(t, "stopped by a signal before the command was done\n", errs)
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{
		"evt-1": "evt-1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "{id}": "'{id}'", "ü": "'ü'", "a\n'\\": `$'a\x0a\'\\'`,
	} {
		assert.Equal(t, want, shellWord(word))
	}
}
