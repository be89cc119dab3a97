package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEscape(t *testing.T) {
	long := strings.Repeat("a", 161)
	sum := sha256.Sum256([]byte(long))
	for in, want := range map[string]string{
		"":                       "",
		"evt-1":                  "evt-1",
		"a b":                    "a%20b",
		"100%":                   "100%25",
		"ü":                      "%C3%BC",
		"a\r\nX-Evil: 1\x00":     "a%0D%0AX-Evil:%201%00",
		"../../etc/passwd":       "../../etc/passwd",
		strings.Repeat("a", 160): strings.Repeat("a", 160),
		long:                     strings.Repeat("a", 127) + "~" + hex.EncodeToString(sum[:])[:32],
	} {
		assert.Equal(t, want, Escape(in))
	}
}

func TestEscapeFileName(t *testing.T) {
	for in, want := range map[string]string{
		"evt-1":            "evt-1",
		"../../etc/passwd": "%2E.%2F..%2Fetc%2Fpasswd",
		`c:\x`:             "c%3A%5Cx",
		".hidden":          "%2Ehidden",
		".":                "%2E",
		"a.b":              "a.b",
	} {
		assert.Equal(t, want, EscapeFileName(in))
	}
}

// nastyWords returns difficult words that a producer may send.
func nastyWords() []string {
	hash := strings.Repeat("0123456789abcdef", 2)
	words := []string{
		"", "evt-1", "a b", "100%", "ü", "a\r\nX-Evil: 1\x00", ".", "..", ".hidden", "a/b", `c:\x`, "\uFFFD", "\u2028",
		strings.Repeat("a", 127) + "~" + hash,            // a word that has the form of a cut one
		strings.Repeat("a", 126) + "/~" + hash,           // such a word that changes in a file name
		strings.Repeat("a", 127) + "~" + hash[:31] + "g", // not the form of a cut word, because it does not end in a hash
		strings.Repeat("a", 128) + hash,
	}
	for _, unit := range []string{"a", "ü", "%", "/", ".", `\`, ":", "./", "\x00", "\xff", "\u2028", "a%2F", "~", " "} {
		for _, length := range []int{42, 43, 53, 54, 126, 127, 128, 159, 160, 161, 300_000} {
			words = append(words, strings.Repeat(unit, length), strings.Repeat(unit, length)+"b", "a"+strings.Repeat(unit, length))
		}
	}
	return words
}

// TestCut_KeepsTheNamesOfTheWholeWord checks that a workflow ID, a header and a file name are
// the same if they are made of a word and if they are made of the result of Cut.
func TestCut_KeepsTheNamesOfTheWholeWord(t *testing.T) {
	for _, word := range nastyWords() {
		cut := Cut(word)
		require.LessOrEqual(t, len(cut), escapedLimit, "%.200q", word)
		require.Equal(t, Escape(word), EscapeCut(cut), "%.200q", word)
		require.LessOrEqual(t, len(EscapeCutFileName(cut)), escapedLimit)
		require.False(t, strings.ContainsAny(EscapeCutFileName(cut), `/\:`))
		if !isCut(word) { // a word with the form of a cut one cannot be distinguished from a cut one
			require.Equal(t, EscapeFileName(word), EscapeCutFileName(cut), "%.200q", word)
			require.Equal(t, EscapeFileName(word), EscapeCutFileName(word), "%.200q", word)
		}
	}
	short := Event{ID: "a b", Type: "t", InteractionID: "ü", ChannelType: "voice", Status: "s"}
	assert.Equal(t, short, short.Cut())
	long := strings.Repeat("\u2028", 300_000)
	cut := Event{ID: long, Type: long, InteractionID: long, ChannelType: long, Status: long}.Cut()
	for _, word := range []string{cut.ID, cut.Type, cut.InteractionID, cut.ChannelType, cut.Status} {
		assert.Equal(t, Escape(long), word)
	}
}

func TestHash_DiffersForDifferentEventsWithTheSameID(t *testing.T) {
	event := Event{ID: "a", Type: "conversation.started", InteractionID: "1", ChannelType: "voice"}
	other := event
	other.ID, other.ChannelType, other.Status = "b", "chat", "s"
	assert.Equal(t, event.Hash(), other.Hash())
	assert.Len(t, event.Hash(), 64)
	for _, different := range []Event{
		{Type: "conversation.ended", InteractionID: "1"},
		{Type: "conversation.started", InteractionID: "2"},
		{Type: "conversation.started1"},
		{InteractionID: "conversation.started1"},
		{Type: "1", InteractionID: "conversation.started"},
	} {
		assert.NotEqual(t, event.Hash(), different.Hash(), different)
	}
	assert.NotEqual(t, Event{Type: "ab", InteractionID: "c"}.Hash(), Event{Type: "a", InteractionID: "bc"}.Hash())
}

// TestUndecodable_IDDependsOnAllThatKafkaStores checks that the id depends on more than the
// position, because a topic that is created anew has other messages at the old positions.
func TestUndecodable_IDDependsOnAllThatKafkaStores(t *testing.T) {
	at := time.UnixMilli(1773480413589)
	undecodableID := func(s Source, at time.Time, key, value []byte) string {
		e := Undecodable(s, at, key, value)
		assert.True(t, e.IdentifiedByContent())
		return e.ID
	}
	ids := map[string]string{}
	add := func(name, id string) {
		for other, taken := range ids {
			assert.NotEqual(t, taken, id, "%s and %s", other, name)
		}
		ids[name] = id
	}
	add("one", undecodableID(Source{"t", 1, 23}, at, []byte("k"), []byte("{first bad")))
	add("value", undecodableID(Source{"t", 1, 23}, at, []byte("k"), []byte("{second bad")))
	add("key", undecodableID(Source{"t", 1, 23}, at, []byte("l"), []byte("{first bad")))
	add("no key", undecodableID(Source{"t", 1, 23}, at, nil, []byte("k{first bad")))
	add("timestamp", undecodableID(Source{"t", 1, 23}, at.Add(time.Millisecond), []byte("k"), []byte("{first bad")))
	add("topic", undecodableID(Source{"u", 1, 23}, at, []byte("k"), []byte("{first bad")))
	add("partition", undecodableID(Source{"t", 12, 3}, at, []byte("k"), []byte("{first bad")))
	add("offset", undecodableID(Source{"t", 1, 24}, at, []byte("k"), []byte("{first bad")))
	assert.Equal(t, ids["one"], undecodableID(Source{"t", 1, 23}, at.UTC(), []byte("k"), []byte("{first bad")), "a redelivered message is the same")
}

func TestWithID_IgnoresAnIDThatIdentifiesNothing(t *testing.T) {
	e, err := Decode([]byte(`{"event_id":"a"}`))
	require.NoError(t, err)
	assert.Equal(t, "b", e.WithID("b").ID)
	assert.False(t, e.WithID("b").IdentifiedByContent())
	assert.False(t, e.WithID("a").IdentifiedByContent())
	for _, none := range []string{"", "\uFFFD", "a\xff"} {
		assert.Equal(t, e.ContentID(), e.WithID(none).ID, "%q", none)
		assert.True(t, e.WithID(none).IdentifiedByContent())
	}
	bare, err := Decode([]byte(`{"event_type":"a"}`))
	require.NoError(t, err)
	assert.Equal(t, bare.ContentID(), bare.ID)
	assert.True(t, bare.WithID(bare.ID).IdentifiedByContent())
	assert.False(t, bare.WithID(bare.ID+"-b").IdentifiedByContent())
}

func FuzzEscape(f *testing.F) {
	f.Add("a", "b")
	f.Add("../x", "..%2Fx")
	f.Add(strings.Repeat("é", 4096), strings.Repeat("é", 4097))
	f.Fuzz(func(t *testing.T, a, b string) {
		require.Equal(t, Escape(a), EscapeCut(Cut(a)))
		for _, escape := range []func(string) string{Escape, EscapeFileName} {
			got := escape(a)
			require.LessOrEqual(t, len(got), escapedLimit)
			for i := range len(got) {
				require.True(t, got[i] >= 0x21 && got[i] <= 0x7E, "%q", got)
			}
			require.Equal(t, a == b, got == escape(b), "different identifiers stay different")
		}
		require.False(t, strings.ContainsAny(EscapeFileName(a), `/\:`))
	})
}
