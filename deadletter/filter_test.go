package deadletter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func TestFilter_Match(t *testing.T) {
	record := newRecord("evt-1", "run-1") // rejected at noon
	for name, test := range map[string]struct {
		filter Filter
		want   bool
	}{
		"nothing asked":     {Filter{}, true},
		"target":            {Filter{Target: "compliance-service"}, true},
		"other target":      {Filter{Target: "compliance"}, false},
		"type":              {Filter{Type: "conversation.*"}, true},
		"other type":        {Filter{Type: "conversation.ended"}, false},
		"reason":            {Filter{Reason: event.ReasonRejected}, true},
		"other reason":      {Filter{Reason: event.ReasonExpired}, false},
		"event":             {Filter{EventID: "evt-1"}, true},
		"other event":       {Filter{EventID: "evt-"}, false},
		"interaction":       {Filter{InteractionID: "i-1"}, true},
		"other interaction": {Filter{InteractionID: "i-2"}, false},
		"since then":        {Filter{Since: noon}, true},
		"since later":       {Filter{Since: noon.Add(1)}, false},
		"until later":       {Filter{Until: noon.Add(1)}, true},
		"until then":        {Filter{Until: noon}, false},
		"all of them":       {Filter{"compliance-service", "*", event.ReasonRejected, "evt-1", "i-1", noon, noon.Add(time.Hour)}, true},
		"all but one":       {Filter{"compliance-service", "*", event.ReasonRejected, "evt-1", "i-2", noon, noon.Add(time.Hour)}, false},
	} {
		assert.Equal(t, test.want, test.filter.Match(record), name)
	}
	all := Filter{"compliance-service", "*", event.ReasonExpired, "evt-1", "i-1", noon.Add(1), noon}
	assert.False(t, all.Match(record))
	assert.True(t, all.WithoutFailure().Match(record))
}

func TestMatchPattern(t *testing.T) {
	const detail = "v2.detail.events.conversation.{id}.customer.start"
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true},
		{"*", detail, true},
		{"?", "", false},
		{"?", "ü", true},
		{"??", "ü", false},
		{detail, detail, true},
		{"v2.*.{id}.*.start", detail, true},
		{"v2.*.{id}.*.end", detail, false},
		{"*.customer.*", detail, true},
		{"*start", detail, true},
		{"*star", detail, false},
		{"v2?detail*", detail, true},
		{"v2.detail", detail, false},
		{"a.c", "abc", false},
		{"[a]", "a", false},
		{"[a]", "[a]", true},
		{`\*`, `\anything`, true},
		{"*ab*ab*b", "aabbabab", true},
		{"*ab*ab*c", "aabbabab", false},
		{"", "a", false},
		{strings.Repeat("*a", 500) + "b", strings.Repeat("a", 5000), false},
	} {
		assert.Equal(t, test.want, matchPattern([]rune(test.pattern), []rune(test.text)), "%.40s %.40s", test.pattern, test.text)
	}
}

// The record of a message that Temporal rejected, or of a conflict, may have cut words.
func TestFilter_FindsACutWordByTheWholeWord(t *testing.T) {
	whole := strings.Repeat("ü", 100)
	for target, want := range map[string]bool{event.OversizeTarget: true, event.ConflictTarget: true, "a": false} {
		record := newRecord("evt-1", "run-1")
		record.TargetName, record.InteractionID = target, event.Cut(whole)
		assert.Equal(t, want, Filter{InteractionID: whole}.Match(record), target)
		assert.True(t, Filter{InteractionID: event.Cut(whole)}.Match(record), target)
		assert.False(t, Filter{InteractionID: whole + "b"}.Match(record), target)
	}
}

func TestSelect_YieldsMatchingRecordsAndDamagedFiles(t *testing.T) {
	d, path := openTracker(t)
	for _, target := range []string{"a", "b"} {
		for _, id := range []string{"evt-1", "evt-2", "evt-3"} {
			record := newRecord(id, "run-1")
			record.TargetName = target
			if id == "evt-3" {
				record.EventType = "conversation.ended"
			}
			require.NoError(t, d.Record(t.Context(), record))
		}
	}
	damagedFile := filepath.Join(path, FileName("b", "evt-2"))
	require.NoError(t, os.WriteFile(damagedFile, []byte("{"), 0o600))
	for name, test := range map[string]struct {
		filter  Filter
		want    []string
		damaged bool
	}{
		"all":                {Filter{}, []string{"a evt-1", "a evt-2", "a evt-3", "b evt-1", "b evt-3"}, true},
		"target":             {Filter{Target: "a"}, []string{"a evt-1", "a evt-2", "a evt-3"}, false},
		"type":               {Filter{Type: "*.ended"}, []string{"a evt-3", "b evt-3"}, true},
		"event":              {Filter{EventID: "evt-3"}, []string{"a evt-3", "b evt-3"}, false},
		"event of a target":  {Filter{EventID: "evt-3", Target: "b"}, []string{"b evt-3"}, false},
		"event of a type":    {Filter{EventID: "evt-1", Type: "*.ended"}, nil, false},
		"event, one damaged": {Filter{EventID: "evt-2"}, []string{"a evt-2"}, true},
		"no such event":      {Filter{EventID: "evt-4"}, nil, false},
	} {
		var got []string
		damaged := false
		for record, err := range d.Select(t.Context(), test.filter) {
			if err != nil {
				require.ErrorAs(t, err, new(*DamagedError), name)
				require.ErrorContains(t, err, damagedFile)
				damaged = true
				continue
			}
			got = append(got, record.TargetName+" "+record.EventID)
		}
		assert.ElementsMatch(t, test.want, got, name)
		assert.Equal(t, test.damaged, damaged, name)
	}
}
