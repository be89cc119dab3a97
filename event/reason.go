package event

// Reason is why the delivery of an event was given up. The same word is the type of
// the delivery's failure in Temporal, the reason in a dead letter, and the metric
// label "reason".
type Reason string

// The reasons, a closed set.
const (
	ReasonRejected    Reason = "rejected"    // an answer that no further attempt would change
	ReasonExhausted   Reason = "exhausted"   // max_attempts requests failed
	ReasonExpired     Reason = "expired"     // max_age passed
	ReasonCanceled    Reason = "canceled"    // the run was canceled
	ReasonRetired     Reason = "retired"     // the target was retired while the delivery waited
	ReasonUndecodable Reason = "undecodable" // the message is not JSON
	ReasonOversize    Reason = "oversize"    // the message is too large for Temporal
	ReasonConflict    Reason = "conflict"    // the message's event id belongs to another event
)

// Reasons returns all of them.
func Reasons() []Reason {
	return []Reason{
		ReasonRejected, ReasonExhausted, ReasonExpired, ReasonCanceled, ReasonRetired,
		ReasonUndecodable, ReasonOversize, ReasonConflict,
	}
}

// The reserved target names, of messages that could not be fanned out at all. No
// target of targets.yaml can have one, because its name holds no underscore.
const (
	UndecodableTarget = "_undecodable"
	OversizeTarget    = "_oversize"
	ConflictTarget    = "_conflict"
)

// ReservedTargets returns all of them.
func ReservedTargets() []string {
	return []string{UndecodableTarget, OversizeTarget, ConflictTarget}
}
