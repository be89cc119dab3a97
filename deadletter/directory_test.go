package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func letter(eventID, runID string) Record {
	record := Record{
		EventID: eventID, TargetName: "compliance-service", Error: "422 Unprocessable Entity: <no>", Reason: event.ReasonRejected,
		StatusCode: 422, Attempts: 1, Timestamp: noon, EventType: "conversation.started", InteractionID: "i-1",
		WorkflowID: "event-" + eventID, RunID: runID, Source: event.Source{Topic: "t", Partition: 3, Offset: 42},
	}
	SetPayload(&record, []byte(`{"event_id":"`+eventID+`","text":"a < b & c"}`))
	return record
}

func open(t *testing.T) (*Directory, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dead-letters")
	d, err := Open(path)
	require.NoError(t, err)
	return d, path
}

func names(t *testing.T, dir string) []string {
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

// TestRecordFile holds the file against the contract: name, mode, fields in order.
func TestRecordFile(t *testing.T) {
	d, path := open(t)
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
	file := filepath.Join(path, "compliance-service_evt-1.json")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `{
  "event_id": "evt-1",
  "target_name": "compliance-service",
  "error": "422 Unprocessable Entity: <no>",
  "reason": "rejected",
  "status_code": 422,
  "attempts": 1,
  "timestamp": "2026-03-14T12:00:00Z",
  "payload": {
    "event_id": "evt-1",
    "text": "a < b & c"
  },
  "event_type": "conversation.started",
  "interaction_id": "i-1",
  "workflow_id": "event-evt-1",
  "run_id": "run-1",
  "source": {
    "topic": "t",
    "partition": 3,
    "offset": 42
  }
}
`, string(data))
}

func TestRecordAgainIsOnce(t *testing.T) {
	d, path := open(t)
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
	assert.Len(t, names(t, path), 1)
	assert.Empty(t, names(t, filepath.Join(path, supersededDir)))
}

func TestRecordOfANewerRunSupersedes(t *testing.T) {
	d, path := open(t)
	for _, run := range []string{"run-1", "run-2", "run-3", "run-4"} {
		require.NoError(t, d.Record(t.Context(), letter("evt-1", run)))
	}
	got, err := d.Get("compliance-service", "evt-1")
	require.NoError(t, err)
	assert.Equal(t, "run-4", got.RunID)
	name := FileName("compliance-service", "evt-1")
	assert.ElementsMatch(t, []string{name, name + ".run-2", name + ".run-3"}, names(t, filepath.Join(path, supersededDir)))
	older, err := readRecord(filepath.Join(path, supersededDir, name))
	require.NoError(t, err)
	assert.Equal(t, "run-1", older.RunID)
}

func TestRecordCutOffAfterSuperseding(t *testing.T) {
	d, path := open(t)
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
	require.NoError(t, d.linkToSuperseded(FileName("compliance-service", "evt-1"), "run-2"))
	assert.Len(t, names(t, path), 1, "there is no moment without an open record")
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-2")))
	assert.Len(t, names(t, filepath.Join(path, supersededDir)), 1)
}

func TestDamagedFileIsKept(t *testing.T) {
	for _, damage := range []string{"", "{", `{"event_id":"evt-1","target_na`, `{}`, "\x00\x00", `{"event_id":"evt-2","target_name":"compliance-service"}`} {
		d, path := open(t)
		name := FileName("compliance-service", "evt-1")
		require.NoError(t, os.WriteFile(filepath.Join(path, name), []byte(damage), 0o600))

		_, err := d.Get("compliance-service", "evt-1")
		var damaged *DamagedError
		require.ErrorAs(t, err, &damaged)
		assert.Contains(t, err.Error(), name)
		require.ErrorAs(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-9", noon), &damaged)

		require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
		kept, err := os.ReadFile(filepath.Join(path, supersededDir, name))
		require.NoError(t, err)
		assert.Equal(t, damage, string(kept))
	}
}

func TestResolve(t *testing.T) {
	d, path := open(t)
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon), "without a record")
	for range 2 {
		require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
		require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon))
		_, err := d.Get("compliance-service", "evt-1")
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.Len(t, names(t, filepath.Join(path, resolvedDir)), 1, "a call that was cut off finds its own work")
	}
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-3")))
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-4", noon))
	name := FileName("compliance-service", "evt-1")
	assert.ElementsMatch(t, []string{name, name + ".run-3"}, names(t, filepath.Join(path, resolvedDir)))
	got, err := readRecord(filepath.Join(path, resolvedDir, name))
	require.NoError(t, err)
	assert.Equal(t, "run-2", got.ResolvedRunID)
	assert.Equal(t, noon, *got.ResolvedAt)
	assert.Equal(t, `{"event_id":"evt-1","text":"a < b & c"}`, string(got.Message()))
}

func TestHostileIDsStayInTheDirectory(t *testing.T) {
	d, path := open(t)
	ids := []string{"../../x", "/etc/passwd", `..\x`, "a\r\nb", "a\x00b", "ü", ".hidden", ".", "..", "con:", strings.Repeat("x", 4096), strings.Repeat("ü", 4096)}
	for _, id := range ids {
		require.NoError(t, d.Record(t.Context(), letter(id, "run-1")), "%q", id)
		require.NoError(t, d.Record(t.Context(), letter(id, "run-2")), "%q", id)
		got, err := d.Get("compliance-service", id)
		require.NoError(t, err)
		assert.Equal(t, id, got.EventID)
		require.NoError(t, d.Resolve(t.Context(), "compliance-service", id, "run-3", noon), "%q", id)
	}
	assert.Empty(t, names(t, path))
	assert.Len(t, names(t, filepath.Join(path, resolvedDir)), len(ids))
	assert.Len(t, names(t, filepath.Join(path, supersededDir)), len(ids))
	assert.Empty(t, names(t, filepath.Dir(path)))
}

func TestRecordFailsWhereItCannotWrite(t *testing.T) {
	d, path := open(t)
	require.NoError(t, os.RemoveAll(path))
	err := d.Record(t.Context(), letter("evt-1", "run-1"))
	require.ErrorAs(t, err, new(*UnavailableError))
	_, err = Open(filepath.Join(os.DevNull, "x"))
	require.Error(t, err)
}

func TestRecordSideBySide(t *testing.T) {
	d, path := open(t)
	other, err := Open(path)
	require.NoError(t, err)
	var all sync.WaitGroup
	for _, dir := range []*Directory{d, other} {
		for _, id := range []string{"a", "b", "c", "d"} {
			all.Go(func() { assert.NoError(t, dir.Record(t.Context(), letter(id, "run-1"))) })
		}
	}
	all.Wait()
	assert.Len(t, names(t, path), 4)
}

// TestRecordOfManyRunsAtOnce has two processes record the same delivery, each
// for many runs: every record is open or superseded afterwards.
func TestRecordOfManyRunsAtOnce(t *testing.T) {
	d, path := open(t)
	other, err := Open(path)
	require.NoError(t, err)
	const runs = 40
	var all sync.WaitGroup
	for i, dir := range []*Directory{d, other} {
		for j := range runs {
			all.Go(func() { assert.NoError(t, dir.Record(t.Context(), letter("a", fmt.Sprintf("run-%d-%d", i, j)))) })
		}
	}
	all.Wait()
	seen := make(map[string]bool)
	for _, folder := range []string{path, filepath.Join(path, supersededDir)} {
		for _, name := range names(t, folder) {
			got, err := readRecord(filepath.Join(folder, name))
			require.NoError(t, err)
			seen[got.RunID] = true
		}
	}
	assert.Len(t, seen, 2*runs)
	assert.Len(t, names(t, path), 1)
}

// TestResolveBesideRecord: a record that comes while an older one is resolved is
// open or resolved too, never gone.
func TestResolveBesideRecord(t *testing.T) {
	d, path := open(t)
	other, err := Open(path)
	require.NoError(t, err)
	const runs = 30
	var all sync.WaitGroup
	for i := range runs {
		all.Go(func() { assert.NoError(t, d.Record(t.Context(), letter("a", fmt.Sprint("run-", i)))) })
		all.Go(func() { assert.NoError(t, other.Resolve(t.Context(), "compliance-service", "a", "run-x", noon)) })
	}
	all.Wait()
	kept := 0
	for _, folder := range []string{path, filepath.Join(path, supersededDir), filepath.Join(path, resolvedDir)} {
		kept += len(names(t, folder))
	}
	assert.Equal(t, runs, kept)
}

// TestWithoutLinks is the tracker on a file system that has no hard links.
func TestWithoutLinks(t *testing.T) {
	d, path := open(t)
	d.link = func(string, string) error { return errors.ErrUnsupported }
	name := FileName("compliance-service", "evt-1")
	for _, run := range []string{"run-1", "run-2", "run-3"} {
		require.NoError(t, d.linkToSuperseded(name, run), "cut off before the record")
		require.NoError(t, d.Record(t.Context(), letter("evt-1", run)))
	}
	assert.ElementsMatch(t, []string{name, name + ".run-2"}, names(t, filepath.Join(path, supersededDir)))
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-4", noon))
	assert.Equal(t, []string{name}, names(t, filepath.Join(path, resolvedDir)))
	assert.Empty(t, names(t, path))
}

func TestResolveCutOffBeforeTheOpenOneWent(t *testing.T) {
	d, path := open(t)
	file := filepath.Join(path, FileName("compliance-service", "evt-1"))
	require.NoError(t, d.Record(t.Context(), letter("evt-1", "run-1")))
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon))
	require.NoError(t, os.WriteFile(file, before, 0o600))

	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon.Add(time.Minute)))
	assert.Empty(t, names(t, path))
	assert.Len(t, names(t, filepath.Join(path, resolvedDir)), 1)

	other := letter("evt-1", "run-1")
	other.Error = "another end of the same run"
	require.NoError(t, d.Record(t.Context(), other))
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "evt-1", "run-2", noon))
	assert.Len(t, names(t, filepath.Join(path, resolvedDir)), 2, "what differs is kept beside")
}

// TestTheLongestNamesFit fills 255 bytes: the longest target, the longest id,
// run ids as Temporal's, and one that is not.
func TestTheLongestNamesFit(t *testing.T) {
	d, path := open(t)
	target, id := strings.Repeat("t", 40), strings.Repeat("x", 4096)
	for i := range 4 {
		record := letter(id, fmt.Sprintf("%036d", i))
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
	assert.Len(t, names(t, filepath.Join(path, resolvedDir)), 4)
	assert.Len(t, names(t, filepath.Join(path, supersededDir)), 4)
}

func TestAll(t *testing.T) {
	d, path := open(t)
	want := make([]string, 0, 2*listBatch)
	for i := range cap(want) {
		id := fmt.Sprint("evt-", i)
		want = append(want, id)
		data, err := encode(letter(id, "run-1"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(path, FileName("compliance-service", id)), data, 0o600))
	}
	for _, other := range []string{".half-written.json123", ".x.json", "notes.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(path, other), []byte("{"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(path, "a_damaged.json"), []byte("{"), 0o600))

	var got []string
	damaged := 0
	for record, err := range d.All(t.Context()) {
		if err != nil {
			require.ErrorAs(t, err, new(*DamagedError))
			damaged++
			continue
		}
		got = append(got, record.EventID)
	}
	assert.ElementsMatch(t, want, got)
	assert.Equal(t, 1, damaged)

	for _, err := range d.All(t.Context()) {
		_ = err // stopping early is no error
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, err := range d.All(ctx) {
		if seen++; seen == 2 {
			require.ErrorIs(t, err, context.Canceled)
		}
		cancel()
	}
	assert.Equal(t, 2, seen)
	require.NoError(t, os.RemoveAll(path))
	for _, err := range d.All(t.Context()) {
		require.ErrorAs(t, err, new(*UnavailableError))
	}
}

func TestOpenMakesFoldersForTheUserAlone(t *testing.T) {
	_, path := open(t)
	for _, folder := range []string{".", supersededDir, resolvedDir, discardedDir, targetsDir} {
		dir := filepath.Join(path, folder)
		info, err := os.Stat(dir)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), dir)
		assert.Empty(t, names(t, dir), "no probe is left")
	}
}

// TestEveryReaderTakesTheFile: valid UTF-8, and not far larger than the message.
func TestEveryReaderTakesTheFile(t *testing.T) {
	for _, message := range []string{"{\"a\":\"\xff\"}", strings.Repeat("[", 5000) + strings.Repeat("]", 5000)} {
		d, path := open(t)
		record := letter("a", "run-1")
		SetPayload(&record, []byte(message))
		require.NoError(t, d.Record(t.Context(), record))
		data, err := os.ReadFile(filepath.Join(path, FileName("compliance-service", "a")))
		require.NoError(t, err)
		assert.True(t, utf8.Valid(data))
		assert.Less(t, len(data), len(message)+maxIndent)
		got, err := d.Get("compliance-service", "a")
		require.NoError(t, err)
		assert.Equal(t, message, string(got.Message()))
	}
}

// TestFileName_OfACutIDIsThatOfTheWhole: a record of a message that was too large is
// found by the id that the message has and by the one that the record has.
func TestFileName_OfACutIDIsThatOfTheWhole(t *testing.T) {
	d, _ := open(t)
	for _, id := range []string{
		"evt-1", "../x", strings.Repeat("a", 160), strings.Repeat("a", 161), strings.Repeat("ü", 27), "." + strings.Repeat("/", 160),
		strings.Repeat(`a/b\c:`, 1000), strings.Repeat("\u2028", 300_000), strings.Repeat("\xff", 700_000), strings.Repeat("%", 54),
		strings.Repeat("a", 126) + "/~" + strings.Repeat("0123456789abcdef", 2),
	} {
		record := letter(event.Cut(id), "run-1")
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
	// Records of other targets hold whole ids, and one that looks cut is an id like others.
	looksCut := event.Cut(strings.Repeat("ü", 100))
	assert.NotEqual(t, FileName("a", strings.Repeat("ü", 100)), FileName("a", looksCut))
}

func TestDamagedErrorUnwraps(t *testing.T) {
	inner := errors.New("inner")
	assert.ErrorIs(t, &DamagedError{File: "x", Err: inner}, inner)
}

func TestPayload(t *testing.T) {
	for message, exact := range map[string]bool{
		`{"a":1,"b":[true,null,"x<y"],"c":1.5}`: true,
		`{"a": 1}`:                              false,
		`{"a":1e2}`:                             false,
		`{"a":1.0}`:                             false,
		`{"a":-0}`:                              false,
		`{"a":9007199254740993}`:                false,
		`{"a":1,"a":2}`:                         false,
		`{"a":"\u0041"}`:                        false,
		`{"a":"\/"}`:                            false,
		`{"a":"é"}`:                             true,
		"{\"a\":\"\xff\"}":                      false,
		`null`:                                  false,
		"\uFEFF" + `{"a":1}`:                    false,
		"\uFEFF{\"a\":\"\xff\"}":                false,
		"\uFEFFhello":                           false,
		"hello":                                 false,
	} {
		var record Record
		SetPayload(&record, []byte(message))
		assert.Equal(t, exact, record.PayloadBase64 == nil, message)
		assert.Equal(t, message, string(record.Message()))
		assert.Equal(t, json.Valid([]byte(strings.TrimPrefix(message, "\uFEFF"))), record.Payload != nil, message)
	}
	var noText Record
	SetPayload(&noText, []byte("{\"a\":\"\xff\"}"))
	assert.True(t, utf8.Valid(noText.Payload), "the file stays text")
	var none Record
	SetPayload(&none, nil)
	assert.Nil(t, none.Message())
	SetPayload(&none, []byte{})
	assert.NotNil(t, none.Message(), "a message without bytes was kept")
}

// FuzzMessage: whatever the message, its record gives it back byte for byte.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,2.5,"x"]}}`))
	f.Add([]byte("{\"a\":\"\u2028\"}"))
	f.Add([]byte("\xff"))
	f.Add([]byte{})
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, message []byte) {
		d, err := Open(t.TempDir())
		require.NoError(t, err)
		record := letter("evt-1", "run-1")
		SetPayload(&record, message)
		require.NoError(t, d.Record(t.Context(), record))
		got, err := d.Get("compliance-service", "evt-1")
		require.NoError(t, err)
		require.Equal(t, message, got.Message())
	})
}
