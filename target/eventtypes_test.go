package target

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestEventTypes_ListsTheTypesThatAWhenAsksFor checks which event types are listed, and that all others
// are left out.
func TestEventTypes_ListsTheTypesThatAWhenAsksFor(t *testing.T) {
	exact := func(texts ...string) (types []EventType) {
		for _, text := range texts {
			types = append(types, EventType{Text: text})
		}
		return types
	}
	for when, want := range map[string][]EventType{
		`event.type == "a"`:                 exact("a"),
		`"a" == event.type`:                 exact("a"),
		`event.type in ["a", "b"]`:          exact("a", "b"),
		`event.type in ["a", event.status]`: exact("a"),
		`event.type.startsWith("a.")`:       {{Text: "a.", Prefix: true}},
		`event.channel_type == "voice" && (event.type == "a" || event.type.startsWith("b"))`: {{Text: "a"}, {Text: "b", Prefix: true}},
		`event.type == "a" || payload.x == "b"`:                                              exact("a"),
		`event.type != "a"`:                                                                  nil,
		`!(event.type == "a")`:                                                               nil,
		`!event.type.startsWith("a")`:                                                        nil,
		`event.type == "a" ? false : true`:                                                   nil,
		`event.type.endsWith("a")`:                                                           nil,
		`event.type.matches("^a$")`:                                                          nil,
		`event.status == "a"`:                                                                nil,
		`payload.type == "a"`:                                                                nil,
		`payload.type.startsWith("a")`:                                                       nil,
		`event.type == event.status`:                                                         nil,
		`event.status.startsWith(event.type)`:                                                nil,
		`["a"].exists(x, x == event.type)`:                                                   nil,
		`event.type in payload.list`:                                                         nil,
		`true`:                                                                               nil,
	} {
		t.Run(when, func(t *testing.T) {
			assert.Equal(t, want, parse(t, one("when: "+strconv.Quote(when))).All()[0].EventTypes())
		})
	}
	assert.Empty(t, parse(t, one("")).All()[0].EventTypes())
}
