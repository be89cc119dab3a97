package fanout

import (
	"genesys-fanout/event"
	"genesys-fanout/target"
)

// Input is FanOut's one argument. It carries everything that the run needs to replay
// the same way later, and nothing secret.
type Input struct {
	event.Message // without its body if Undeliverable says that the message was too large

	// Targets are the policies of the targets that want the event.
	Targets []target.Policy `json:"targets,omitempty"`

	// Undeliverable is set instead of Targets if the message cannot be fanned out:
	// then the run only records it.
	Undeliverable *Undeliverable `json:"undeliverable,omitempty"`

	// SearchAttributes is false if the namespace lacks ours. Then the workflow must
	// not upsert them, because its task would fail for ever.
	SearchAttributes bool `json:"search_attributes"`
}

// WordsCut reports whether the event travels with bounded words: that of an input
// without its message, because Temporal refused it with the message. However long the
// event's own words are, such an input is small.
func (in Input) WordsCut() bool { return in.Undeliverable != nil && in.Body.IsZero() }

// Undeliverable is why a message goes to no target at all.
type Undeliverable struct {
	Reason event.Reason `json:"reason"` // ReasonUndecodable, ReasonOversize or ReasonConflict
	Error  string       `json:"error"`
}

// Target returns the reserved name under which the message is recorded.
func (u *Undeliverable) Target() string { return "_" + string(u.Reason) }

// Result is FanOut's result if it delivered everything.
type Result struct {
	Delivered []string `json:"delivered"` // target names, in the input's order
}
