package deadletter

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func (d *Tracker) sortedCounts(t *testing.T) []Count {
	t.Helper()
	counts, err := d.Count(t.Context())
	require.NoError(t, err)
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Reason, b.Reason))
	})
	for i := range counts {
		if !counts[i].Oldest.IsZero() {
			counts[i].Oldest = counts[i].Oldest.UTC()
		}
	}
	return counts
}

func TestCount_FollowsRecordsAsTheyOpenChangeAndClose(t *testing.T) {
	d, path := openTracker(t)
	assert.Empty(t, d.sortedCounts(t))
	record := func(target, id, run string, reason event.Reason, age time.Duration) Record {
		r := newRecord(id, run)
		r.TargetName, r.Reason, r.Timestamp = target, reason, noon.Add(-age)
		require.NoError(t, d.Record(t.Context(), r))
		return r
	}
	record("a", "evt-1", "run-1", event.ReasonRejected, time.Hour)
	record("a", "evt-2", "run-1", event.ReasonRejected, time.Minute)
	record("a", "evt-3", "run-1", event.ReasonExhausted, 0)
	poison := record(event.UndecodableTarget, "evt-4", "run-1", event.ReasonUndecodable, 0)
	damaged := filepath.Join(path, FileName("b", "evt-1"))
	require.NoError(t, os.WriteFile(damaged, []byte(`{"event_id":"evt-1","target_name":"evil","reason":"rejected","timestamp":"2026-03-14T12:00:00Z"}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(path, "notes.json"), []byte("["), 0o600))
	assert.Equal(t, []Count{
		{otherTarget, Damaged, 1, time.Time{}},
		{event.UndecodableTarget, event.ReasonUndecodable, 1, noon},
		{"a", event.ReasonExhausted, 1, noon},
		{"a", event.ReasonRejected, 2, noon.Add(-time.Hour)},
		{"b", Damaged, 1, time.Time{}},
	}, d.sortedCounts(t))

	require.NoError(t, os.Remove(damaged))
	require.NoError(t, os.Remove(filepath.Join(path, "notes.json")))
	record("a", "evt-1", "run-2", event.ReasonExpired, time.Second)
	require.NoError(t, d.Resolve(t.Context(), "a", "evt-3", "run-2", noon))
	_, err := d.Discard(t.Context(), poison, DiscardNote{At: noon})
	require.NoError(t, err)
	assert.Equal(t, []Count{
		{"a", event.ReasonExpired, 1, noon.Add(-time.Second)},
		{"a", event.ReasonRejected, 1, noon.Add(-time.Minute)},
	}, d.sortedCounts(t))
	assert.Len(t, d.counter.files, 2, "closed records are removed from memory")
}

func TestCount_ReadsAFileAgainOnlyIfItHasChanged(t *testing.T) {
	d, _ := openTracker(t)
	r := newRecord("evt-1", "run-1")
	require.NoError(t, d.Record(t.Context(), r))
	want := d.sortedCounts(t)
	file := d.File(r.TargetName, r.EventID)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, make([]byte, info.Size()), 0o600))
	require.NoError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
	assert.Equal(t, want, d.sortedCounts(t), "its time and size are unchanged")
	require.NoError(t, os.Chtimes(file, noon, noon))
	assert.Equal(t, []Count{{"compliance-service", Damaged, 1, time.Time{}}}, d.sortedCounts(t))
}

// A restore from a backup may bring records of targets that are not in the list.
func TestCount_AddsMissingTargetsToTheList(t *testing.T) {
	d, path := openTracker(t)
	r := newRecord("evt-1", "run-1")
	data, err := encode(r)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(path, FileName(r.TargetName, r.EventID)), data, 0o600))
	found, err := d.OpenTargets(t.Context(), "evt-1")
	require.NoError(t, err)
	require.Empty(t, found)
	d.sortedCounts(t)
	found, err = d.OpenTargets(t.Context(), "evt-1")
	require.NoError(t, err)
	assert.Equal(t, []string{r.TargetName}, found)
}

// People edit records, and editors may sort the members.
func TestCount_AcceptsMembersInAnyOrder(t *testing.T) {
	d, path := openTracker(t)
	file := filepath.Join(path, FileName("a", "evt-1"))
	for content, want := range map[string]event.Reason{
		`{"payload":{"reason":"expired"},"timestamp":"2026-03-14T12:00:00Z","target_name":"a","reason":"rejected","event_id":"evt-1"}`: event.ReasonRejected,
		`{"timestamp":"2026-03-14T12:00:00Z","target_name":"a","reason":"rejected"}`:                                                   Damaged,
		`{"timestamp":"2026-03-14T12:00:00Z","target_name":"a","reason":"of a message","event_id":"evt-1"}`:                            Damaged,
		`{"timestamp":"yesterday","target_name":"a","reason":"rejected","event_id":"evt-1"}`:                                           Damaged,
		`["event_id"]`: Damaged,
		``:             Damaged,
	} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		counts := d.sortedCounts(t)
		require.Len(t, counts, 1)
		assert.Equal(t, want, counts[0].Reason, content)
	}
}
