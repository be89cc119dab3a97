package fanout

import (
	"go.temporal.io/sdk/temporal"

	"genesys-fanout/event"
)

// The search attributes of a run. A namespace has them only after they were registered;
// Input.SearchAttributes says whether they are.
var (
	EventTypeKey         = temporal.NewSearchAttributeKeyKeyword("EventType")
	InteractionIDKey     = temporal.NewSearchAttributeKeyKeyword("InteractionId")
	ChannelTypeKey       = temporal.NewSearchAttributeKeyKeyword("ChannelType")
	DeadLetterTargetsKey = temporal.NewSearchAttributeKeyKeywordList("DeadLetterTargets")
)

// SearchAttributeKeys returns the keys of all search attributes, for the code that registers them.
func SearchAttributeKeys() []temporal.SearchAttributeKey {
	return []temporal.SearchAttributeKey{EventTypeKey, InteractionIDKey, ChannelTypeKey, DeadLetterTargetsKey}
}

// SearchAttributes returns the search attributes of a run with this input. It leaves out
// an attribute if the event has no value for it, so that the filter "IS NULL" finds the
// run.
func SearchAttributes(in Input) temporal.SearchAttributes {
	escape := event.Escape
	if in.StringsCut() { // they may be cut already, for example in a run that is started by hand
		escape = event.EscapeCut
	}
	var updates []temporal.SearchAttributeUpdate
	for _, attribute := range []struct {
		key   temporal.SearchAttributeKeyKeyword
		value string
	}{
		{EventTypeKey, in.Event.Type}, {InteractionIDKey, in.Event.InteractionID}, {ChannelTypeKey, in.Event.ChannelType},
	} {
		if attribute.value != "" {
			updates = append(updates, attribute.key.ValueSet(escape(attribute.value)))
		}
	}
	return temporal.NewSearchAttributes(updates...)
}
