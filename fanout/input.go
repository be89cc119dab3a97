package fanout

import (
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// Input is the argument of FanOut. It carries everything that the run needs, so that a
// later replay of its history takes the same decisions. It has no secrets.
type Input struct {
	event.Message // without the body if Undeliverable says that the message was too large

	// Targets are the policies of the targets that want the event.
	Targets []target.Policy `json:"targets,omitempty"`

	// Undeliverable is set instead of Targets if the message cannot be fanned out. Then
	// the run only records the message.
	Undeliverable *Undeliverable `json:"undeliverable,omitempty"`

	// SearchAttributes is false if the namespace lacks our search attributes. Then the
	// workflow must not upsert them, because its task would fail for ever.
	SearchAttributes bool `json:"search_attributes"`
}

// StringsCut reports whether Start cuts the strings of the event (ID, Type, InteractionID,
// ChannelType, Status) in this input. Start cuts them if the input has no message body because
// Temporal rejected the input with the body. Such an input is small, however long the strings of
// the event are.
func (in Input) StringsCut() bool { return in.Undeliverable != nil && in.Body.IsZero() }

// Undeliverable says why a message goes to no target at all.
type Undeliverable struct {
	Reason event.Reason `json:"reason"` // ReasonUndecodable, ReasonOversize or ReasonConflict
	Error  string       `json:"error"`
}

// Target returns the reserved name under which the message is recorded.
func (u *Undeliverable) Target() string { return "_" + string(u.Reason) }

// Result is the result of FanOut if every delivery succeeded.
type Result struct {
	Delivered []string `json:"delivered"` // target names, in the input's order
}
