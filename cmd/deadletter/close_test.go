package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/deadletter"
	"genesys-fanout/event"
	"genesys-fanout/internal/process"
)

// kept reads the only record of a folder.
func (d *desk) kept(folder deadletter.Folder) deadletter.Record {
	d.t.Helper()
	files := d.files(folder)
	require.Len(d.t, files, 1)
	data, err := os.ReadFile(files[0])
	require.NoError(d.t, err)
	var record deadletter.Record
	require.NoError(d.t, json.Unmarshal(data, &record))
	return record
}

func (d *desk) files(folder deadletter.Folder) []string {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.tracker.Path(folder), "*"))
	require.NoError(d.t, err)
	return files
}

// TestDiscard_One closes the record at once, with who did it, when and why.
func TestDiscard_One(t *testing.T) {
	d := newDesk(t)
	d.record("a", "evt-1", nil)
	d.record("b", "evt-1", nil)
	before := time.Now().Add(-time.Second)
	out, errs, code := d.run("discard", "a", "evt-1", "--note", " the tenant is gone\n")
	assert.Zero(t, code, errs)
	assert.Equal(t, "discarded 1 record; it is in "+d.tracker.Path(deadletter.Discarded)+"\n", out)
	kept := d.kept(deadletter.Discarded)
	assert.Equal(t, "a", kept.TargetName)
	assert.Equal(t, "the tenant is gone", kept.Note)
	assert.Equal(t, userName(), kept.DiscardedBy)
	assert.NotEmpty(t, kept.DiscardedBy)
	assert.True(t, kept.DiscardedAt.After(before))
	out, _, _ = d.run("list")
	assert.Contains(t, out, "| b      | rejected |       1 |")
	assert.NotContains(t, out, "| a ")

	for _, command := range [][]string{{"discard", "a", "evt-1", "--note", "again"}, {"show", "a", "evt-1"}} {
		_, errs, code = d.run(command...)
		assert.Equal(t, process.ExitFailure, code)
		assert.Contains(t, errs, `target "a" has no open dead letter of event "evt-1"; the event has one of target b; a discarded one is `+
			filepath.Join(d.tracker.Path(deadletter.Discarded), "a_evt-1.json"))
	}
	file := d.damage("a", "evt-2")
	_, errs, code = d.run("discard", "a", "evt-2", "--note", "x")
	assert.Equal(t, process.ExitFailure, code)
	assert.Contains(t, errs, file+": damaged dead letter")
	assert.FileExists(t, file)
}

// TestDiscard_ByFilter takes what was counted, reserved targets too, and names
// damaged files.
func TestDiscard_ByFilter(t *testing.T) {
	d := newDesk(t)
	for _, target := range append(event.ReservedTargets(), "a") {
		d.record(target, "evt-1", nil)
		d.record(target, "evt-2", func(r *deadletter.Record) { r.Reason = event.ReasonExpired })
	}
	file := d.damage("a", "evt-3")
	out, errs, code := d.run("discard", "--reason", "rejected", "--note", "obsolete", "--yes")
	assert.Equal(t, process.ExitFailure, code, "a file is damaged")
	assert.Equal(t, "discarded 4 records; they are in "+d.tracker.Path(deadletter.Discarded)+"\n", out)
	assert.Contains(t, errs, file+": damaged dead letter")
	assert.Equal(t, 1, strings.Count(errs, file))
	assert.Contains(t, errs, "1 file cannot be read and is named above")
	assert.Contains(t, errs, "| _conflict    | rejected |       1 |")
	assert.FileExists(t, file)
	assert.Len(t, d.files(deadletter.Discarded), 4)
	require.NoError(t, os.Remove(file))

	out, _, code = d.run("discard", "--reason", "rejected", "--note", "obsolete", "--yes")
	assert.Zero(t, code, "there is nothing left")
	assert.Empty(t, out)
	for _, answer := range []string{"", "n\n"} {
		d.console.interactive, d.console.in = true, strings.NewReader(answer)
		_, errs, code = d.run("discard", "--target", "a", "--note", "obsolete")
		assert.Equal(t, process.ExitFailure, code)
		assert.Contains(t, errs, "Discard 1 record? [y/N] nothing was discarded\n")
	}
	d.console.in = strings.NewReader("y\n")
	_, errs, code = d.run("discard", "--target", "a", "--note", "obsolete")
	assert.Zero(t, code, errs)
	out, _, _ = d.run("list", "--json")
	var left []deadletter.Record
	require.NoError(t, json.Unmarshal([]byte(out), &left))
	assert.Len(t, left, 3)
}

// closing is a question whose answer comes after something has happened.
type closing struct {
	happens func()
	answer  strings.Reader
}

func (c *closing) Read(p []byte) (int, error) {
	if c.happens != nil {
		c.happens()
		c.happens = nil
	}
	return c.answer.Read(p)
}

// TestDiscard_LeavesWhatWasNotCounted: what comes, or is replaced, while it asks.
func TestDiscard_LeavesWhatWasNotCounted(t *testing.T) {
	d := newDesk(t)
	d.record("a", "evt-1", nil)
	d.record("a", "evt-2", nil)
	d.console.interactive = true
	d.console.in = &closing{answer: *strings.NewReader("yes\n"), happens: func() {
		d.record("a", "evt-2", func(r *deadletter.Record) { r.RunID = "run-2" })
		d.record("a", "evt-3", nil)
	}}
	out, errs, code := d.run("discard", "--target", "a", "--note", "obsolete")
	assert.Equal(t, process.ExitFailure, code)
	assert.Contains(t, out, "discarded 1 record; ")
	assert.Contains(t, errs, "1 record not discarded, because it was closed or replaced meanwhile")
	assert.Equal(t, "evt-1", d.kept(deadletter.Discarded).EventID)
	for _, id := range []string{"evt-2", "evt-3"} {
		_, err := d.tracker.Get("a", id)
		require.NoError(t, err)
	}
}

// age leaves a superseded, a resolved and a discarded record, each closed that long
// ago, and an open one from then.
func (d *desk) age(id string, ago time.Duration) {
	d.t.Helper()
	at := time.Now().Add(-ago)
	then := func(run string) func(*deadletter.Record) {
		return func(r *deadletter.Record) { r.RunID, r.Timestamp = run, at }
	}
	d.record("a", id, then("run-1"))
	d.record("a", id, then("run-2")) // supersedes
	require.NoError(d.t, d.tracker.Resolve(d.t.Context(), "a", id, "run-3", at))
	poison := d.record("b", id, then("run-1"))
	_, err := d.tracker.Discard(d.t.Context(), poison, deadletter.DiscardNote{At: at, By: "ops", Note: "x"})
	require.NoError(d.t, err)
	d.record("c", id, then("run-1"))
}

func TestPrune(t *testing.T) {
	d := newDesk(t)
	d.age("old", 91*24*time.Hour)
	d.age("new", 89*24*time.Hour)
	damaged := filepath.Join(d.tracker.Path(deadletter.Resolved), "a_broken.json")
	require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o600))
	const table = `+------------+--------+---------+
| FOLDER     | TARGET | RECORDS |
+------------+--------+---------+
| discarded  | b      |       1 |
| resolved   | a      |       1 |
| superseded | a      |       1 |
+------------+--------+---------+
|            | IN ALL |       3 |
+------------+--------+---------+
`
	out, errs, code := d.run("prune", "--older-than", "90d", "--dry-run")
	assert.Equal(t, process.ExitFailure, code)
	assert.Equal(t, table, out)
	assert.Contains(t, errs, damaged+": damaged dead letter")
	assert.Len(t, d.files(deadletter.Resolved), 3, "a dry run deletes nothing")
	d.console.interactive, d.console.in = true, strings.NewReader("n\n")
	_, errs, code = d.run("prune", "--older-than", "90d")
	assert.Equal(t, process.ExitFailure, code)
	assert.Contains(t, errs, table+"Delete 3 records for good? [y/N] nothing was deleted\n")
	d.console.interactive = false

	out, errs, code = d.run("prune", "--older-than", "90d", "--superseded", "--discarded", "--yes")
	assert.Zero(t, code, errs)
	assert.Equal(t, "deleted 2 records\n", out)
	assert.Len(t, d.files(deadletter.Superseded), 1)
	assert.Len(t, d.files(deadletter.Discarded), 1)
	assert.Len(t, d.files(deadletter.Resolved), 3)
	out, errs, code = d.run("prune", "--older-than", "90d", "--yes")
	assert.Equal(t, process.ExitFailure, code, "a file is damaged")
	assert.Equal(t, "deleted 1 record\n", out)
	assert.Equal(t, 1, strings.Count(errs, damaged))
	assert.FileExists(t, damaged)
	assert.Len(t, d.files(deadletter.Resolved), 2)
	require.NoError(t, os.Remove(damaged))
	_, errs, code = d.run("prune", "--older-than", "90d", "--yes")
	assert.Zero(t, code)
	assert.Equal(t, "nothing to delete\n", errs)

	_, errs, code = d.run("prune", "--older-than", "36h", "--yes")
	assert.Zero(t, code, errs)
	for _, id := range []string{"old", "new"} {
		_, err := d.tracker.Get("c", id)
		require.NoError(t, err, "an open record is never deleted")
	}
	for _, folder := range deadletter.Folders() {
		assert.Empty(t, d.files(folder))
	}
}

// TestPrune_LeavesWhatWasNotCounted: an old record may be superseded while it asks.
func TestPrune_LeavesWhatWasNotCounted(t *testing.T) {
	d := newDesk(t)
	d.age("old", 91*24*time.Hour)
	d.console.interactive = true
	d.console.in = &closing{answer: *strings.NewReader("y\n"), happens: func() {
		d.record("c", "old", func(r *deadletter.Record) { r.RunID = "run-2" })
	}}
	out, errs, code := d.run("prune", "--older-than", "90d")
	assert.Zero(t, code, errs)
	assert.Equal(t, "deleted 3 records\n", out)
	assert.Equal(t, "c", d.kept(deadletter.Superseded).TargetName)
}
