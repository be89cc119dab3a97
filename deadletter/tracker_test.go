package deadletter

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func newRecord(eventID, runID string) Record {
	record := Record{
		EventID: eventID, TargetName: "compliance-service", Error: "422 Unprocessable Entity: <no>", Reason: event.ReasonRejected,
		StatusCode: 422, Attempts: 1, Timestamp: noon, EventType: "conversation.started", InteractionID: "i-1",
		WorkflowID: "event-" + eventID, RunID: runID, Source: event.Source{Topic: "t", Partition: 3, Offset: 42},
	}
	SetPayload(&record, []byte(`{"event_id":"`+eventID+`","text":"a < b & c"}`))
	return record
}

func openTracker(t *testing.T) (*Tracker, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dead-letters")
	d, err := Open(path)
	require.NoError(t, err)
	return d, path
}

func fileNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && entry.Name() != identityFile {
			names = append(names, entry.Name())
		}
	}
	return names
}

func TestOpen_CreatesFoldersForTheUserAlone(t *testing.T) {
	_, path := openTracker(t)
	for _, folder := range []string{".", supersededDir, resolvedDir, discardedDir, targetsDir} {
		dir := filepath.Join(path, folder)
		info, err := os.Stat(dir)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), dir)
		assert.Empty(t, fileNames(t, dir), "no probe is left")
	}
}

func TestOpenExisting_CreatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead-letters")
	_, err := OpenExisting(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.NoDirExists(t, path)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = OpenExisting(path)
	require.ErrorContains(t, err, "is not a directory")
}

func TestRecord_HostileIDsStayInTheDirectory(t *testing.T) {
	d, path := openTracker(t)
	ids := []string{"../../x", "/etc/passwd", `..\x`, "a\r\nb", "a\x00b", "ü", ".hidden", ".", "..", "con:", strings.Repeat("x", 4096), strings.Repeat("ü", 4096)}
	for _, id := range ids {
		require.NoError(t, d.Record(t.Context(), newRecord(id, "run-1")), "%q", id)
		require.NoError(t, d.Record(t.Context(), newRecord(id, "run-2")), "%q", id)
		got, err := d.Get("compliance-service", id)
		require.NoError(t, err)
		assert.Equal(t, id, got.EventID)
		require.NoError(t, d.Resolve(t.Context(), "compliance-service", id, "run-3", noon), "%q", id)
	}
	assert.Empty(t, fileNames(t, path))
	assert.Len(t, fileNames(t, filepath.Join(path, resolvedDir)), len(ids))
	assert.Len(t, fileNames(t, filepath.Join(path, supersededDir)), len(ids))
	assert.Empty(t, fileNames(t, filepath.Dir(path)))
}

// The target, the id and the run IDs have the greatest length, and one run ID is longer than
// those of Temporal.
func TestFileNames_FitInto255Bytes(t *testing.T) {
	d, path := openTracker(t)
	target, id := strings.Repeat("t", 40), strings.Repeat("x", 4096)
	for i := range 4 {
		record := newRecord(id, fmt.Sprintf("%036d", i))
		record.TargetName = target
		if i == 2 {
			record.RunID = strings.Repeat("r", 4096)
		}
		again := record
		again.RunID = fmt.Sprintf("%036d", 10+i)
		require.NoError(t, d.Record(t.Context(), record))
		require.NoError(t, d.Record(t.Context(), again))
		require.NoError(t, d.Resolve(t.Context(), target, id, "run-9", noon))
	}
	assert.Len(t, fileNames(t, filepath.Join(path, resolvedDir)), 4)
	assert.Len(t, fileNames(t, filepath.Join(path, supersededDir)), 4)
}

// The record of an oversize message is found by the id in the message and by the cut id in
// the record.
func TestFileName_OfACutIDIsThatOfTheWholeID(t *testing.T) {
	d, _ := openTracker(t)
	for _, id := range []string{
		"evt-1", "../x", strings.Repeat("a", 160), strings.Repeat("a", 161), strings.Repeat("ü", 27), "." + strings.Repeat("/", 160),
		strings.Repeat(`a/b\c:`, 1000), strings.Repeat("\u2028", 300_000), strings.Repeat("\xff", 700_000), strings.Repeat("%", 54),
		strings.Repeat("a", 126) + "/~" + strings.Repeat("0123456789abcdef", 2),
	} {
		record := newRecord(event.Cut(id), "run-1")
		record.TargetName, record.Reason = event.OversizeTarget, event.ReasonOversize
		require.NoError(t, d.Record(t.Context(), record))
		assert.Equal(t, FileName(event.OversizeTarget, id), FileName(event.OversizeTarget, event.Cut(id)), "%.200q", id)
		for _, name := range []string{id, record.EventID} {
			got, err := d.Get(event.OversizeTarget, name)
			require.NoError(t, err, "%.200q", id)
			assert.Equal(t, event.Cut(id), got.EventID)
			assert.Equal(t, event.Escape(id), got.EscapedID())
			open, err := d.OpenTargets(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, []string{event.OversizeTarget}, open)
		}
	}
	// Records of other targets have whole ids, so an id that looks cut is a whole id.
	looksCut := event.Cut(strings.Repeat("ü", 100))
	assert.NotEqual(t, FileName("a", strings.Repeat("ü", 100)), FileName("a", looksCut))
}

// A worker that starts while the disk is full, or read-only, must deliver. It needs a file system of
// its own.
func TestOpen_OpensAnExistingTrackerOnADiskThatCannotBeWritten(t *testing.T) {
	mount := t.TempDir()
	run := func(args ...string) error {
		return exec.CommandContext(t.Context(), args[0], args[1:]...).Run() //nolint:gosec // commands of this test
	}
	if err := run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount); err != nil {
		t.Skip("only root can mount a file system")
	}
	t.Cleanup(func() { _ = exec.Command("umount", mount).Run() }) //nolint:noctx,gosec // the context of the test has ended
	path := filepath.Join(mount, "dead-letters")

	filler := filepath.Join(mount, "filler")
	fill := func() { _ = os.WriteFile(filler, make([]byte, 1<<20), 0o600) }
	fill()
	_, err := Open(path)
	require.ErrorIs(t, err, syscall.ENOSPC, "there is no tracker yet")
	require.NoError(t, os.Remove(filler))
	before, err := Open(path)
	require.NoError(t, err)

	fill()
	full, err := Open(path)
	require.NoError(t, err)
	assert.Equal(t, before.ID(), full.ID())
	require.ErrorIs(t, full.Check(t.Context()), syscall.ENOSPC)
	require.NoError(t, os.Remove(filler))
	require.NoError(t, full.Check(t.Context()))
	require.NoError(t, full.Record(t.Context(), newRecord("evt-1", "run-1")))

	require.NoError(t, run("mount", "-o", "remount,ro", mount))
	readOnly, err := Open(path)
	require.NoError(t, err)
	require.ErrorIs(t, readOnly.Check(t.Context()), syscall.EROFS)
}
