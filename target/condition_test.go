package target

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

func voiceStart() event.Event {
	return event.Event{
		ID:            "e-1",
		Type:          "conversation.start",
		InteractionID: "i-1",
		ChannelType:   "voice",
		Document: []byte(`{"n": 3, "x": 2.5, "whole": 2.0, "big": 9007199254740993, "huge": 1e999, "nothing": null, "flag": true,
			"list": [{"k": "a"}, {"k": "b"}], "conversation": {"id": "c-1"}, "a-b": "dash"}`),
	}
}

func TestChoose_EvaluatesWhen(t *testing.T) {
	for when, want := range map[string]bool{
		`event.id == "e-1"`: true,
		`event.type.startsWith("conversation.") && event.channel_type == "voice"`: true,
		`event.type == "conversation.end"`:                                        false,
		`event.interaction_id == "i-1"`:                                           true,
		`event.status == ""`:                                                      true, // absent is empty
		`has(event.status)`:                                                       false,
		`has(event.id)`:                                                           true,
		`event.type in ["a", "b"]`:                                                false,
		`event.type.matches("^conv.*start$")`:                                     true,
		`false`:                                                                   false,
		`payload.n == 3`:                                                          true,
		`payload.n == 3.0`:                                                        true,
		`payload.n > 2 && payload.n < 3.5`:                                        true,
		`payload.n + 1 == 4`:                                                      true,
		`payload.x > 1.5`:                                                         true,
		`payload.x > 1 && payload.x < 3`:                                          true,
		`payload.x == 2`:                                                          false,
		`payload.whole == 2`:                                                      true,
		`payload.whole in [1, 2]`:                                                 true,
		`payload.big == 9007199254740993`:                                         true,
		`payload.big == 9007199254740992`:                                         false,
		`payload.huge > 1e300`:                                                    true,
		`payload.nothing == null`:                                                 true,
		`payload.flag == true`:                                                    true,
		`payload["a-b"] == "dash"`:                                                true,
		`payload.conversation.id == "c-1"`:                                        true,
		`payload.list.exists(i, i.k == "b")`:                                      true,
		`payload.list.all(i, i.k == "b")`:                                         false,
		`has(payload.absent)`:                                                     false,
		`has(payload.absent) && payload.absent.deep == 1`:                         false,
		// An expression that cannot be evaluated counts as a match.
		`payload.absent == "x"`:    true,
		`payload.n.startsWith("")`: true,
		`payload.list[7].k == "x"`: true,
		`1 / (payload.n - 3) == 7`: true,
		`payload.n == "3"`:         false, // values of different types are not equal, and that is not an error
	} {
		t.Run(when, func(t *testing.T) {
			set := parse(t, one("when: "+strconv.Quote(when)))
			assert.Equal(t, want, len(set.Choose(voiceStart())) == 1)
		})
	}
}

func TestChoose_KeepsTheOrderOfTheFile(t *testing.T) {
	set := parse(t, `targets:
  - {name: z, url: http://z}
  - {name: retired, url: http://r, state: retired}
  - {name: paused, url: http://p, state: paused}
  - {name: never, url: http://n, when: false}
  - {name: a, url: http://a, when: event.channel_type == "voice"}
`)
	var names []string
	for _, p := range set.Choose(voiceStart()) {
		names = append(names, fmt.Sprint(p.Target, " ", p.FastLane))
	}
	assert.Equal(t, []string{"z true", "paused false", "a true"}, names)
	assert.Len(t, set.All(), 5)
	retired, ok := set.Get("retired")
	require.True(t, ok)
	assert.Equal(t, Retired, retired.State)
	_, ok = set.Get("absent")
	assert.False(t, ok)

	assert.Empty(t, parse(t, one("when: false")).Choose(voiceStart()))

	set.All()[0] = nil // changes only a copy
	assert.NotNil(t, set.All()[0])
}

func TestChoose_DecodesThePayloadOnceAndOnlyIfAWhenUsesIt(t *testing.T) {
	set := parse(t, `targets:
  - {name: a, url: http://a, when: payload.n == 3}
  - {name: b, url: http://b, when: payload.n == 4}
  - {name: c, url: http://c, when: event.id == "e-1" || payload.n == 3}
`)
	ev := voiceStart()
	vars := &variables{event: &ev}
	assert.True(t, set.targets[2].when.matches(vars))
	assert.False(t, vars.decoded, "nothing asked for the payload")

	assert.True(t, set.targets[0].when.matches(vars))
	ev.Document = nil // a second decoding would fail, and a failure counts as a match
	assert.False(t, set.targets[1].when.matches(vars))
}

func TestChoose_CountsAPayloadThatIsNotJSONAsAMatch(t *testing.T) {
	set := parse(t, one(`when: payload.n == 4`))
	for _, document := range []string{"", "{", "{} {}", "\xff", strings.Repeat("[", 20_000)} {
		assert.Len(t, set.Choose(event.Event{Document: []byte(document)}), 1, "%.10s", document)
	}
	for _, document := range []string{"[]", "null", `"text"`, "7"} { // without a field n, the evaluation fails
		assert.Len(t, set.Choose(event.Event{Document: []byte(document)}), 1, document)
	}
	assert.Empty(t, set.Choose(event.Event{Document: []byte(`{"n": 5}`)}))
}

func TestChoose_BoundsTheEvaluation(t *testing.T) {
	document, err := json.Marshal(map[string]any{"list": make([]int, 20_000)})
	require.NoError(t, err)
	ev := event.Event{Document: document}
	once := parse(t, one(`when: payload.list.exists(i, i == 1)`))
	once.targets[0].when.limit = time.Minute // the machine may be busy
	assert.Empty(t, once.Choose(ev), "one loop over a large payload is evaluated whole")

	// 400 million sums would take minutes, so the evaluation is cut off and counts as a match.
	squared := parse(t, one(`when: payload.list.exists(i, payload.list.exists(j, i + j == 1))`))
	squared.targets[0].when.limit = 10 * time.Millisecond
	assert.Len(t, squared.Choose(ev), 1)
}

func TestSet_IsSafeForConcurrentUse(t *testing.T) {
	set := parse(t, one(`when: payload.list.exists(i, i.k == "b") && event.type.matches("start$")`))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				assert.Len(t, set.Choose(voiceStart()), 1)
			}
		})
	}
	group.Wait()
}

func BenchmarkChoose(b *testing.B) {
	for name, when := range map[string]string{
		"event":   `event.type.startsWith("conversation.") && event.channel_type == "voice"`,
		"payload": `payload.n == 3`,
	} {
		set, err := Parse("t.yaml", []byte(one("when: "+strconv.Quote(when))), env())
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Choose(voiceStart())
			}
		})
	}
}
