package event

import "regexp"

// Reason says why the delivery of an event was given up. The same word is the type of the
// delivery's failure in Temporal, the reason in a dead letter, and the metric label
// "reason".
//
// To add a reason, change these places:
//
//   - here: the constant and Reasons. If it concerns a message as a whole, also the reserved
//     target, ReservedTargets, and the comment of fanout.Undeliverable.
//   - the decision. For a delivery: activities/deliver.go and retrytask.go give it up with
//     fanout.GivenUp, fanout/failure.go lists the reason in terminal or infers it in Explain,
//     and workflows/delivery.go gives up what no activity can. For a message as a whole:
//     ingest/input.go makes the run's input, and ingest/start.go logs and counts it.
//   - for a message as a whole, its cure: replay/exclusion.go and cmd/deadletter/show.go.
//   - the help of --reason in cmd/deadletter/filter.go, and reasonWidth in
//     cmd/deadletter/list.go if the word is longer than "undecodable".
//   - README.md, docs/dead-letters.md and CHANGELOG.md.
//
// The counts of deadletter/count.go and the check of --reason follow from Reasons.
type Reason string

// The reasons, a closed set.
const (
	ReasonRejected    Reason = "rejected"    // the target gave an answer that another attempt would not change
	ReasonExhausted   Reason = "exhausted"   // max_attempts requests failed
	ReasonExpired     Reason = "expired"     // max_age passed
	ReasonCanceled    Reason = "canceled"    // the run was canceled
	ReasonRetired     Reason = "retired"     // the target was retired while the delivery waited
	ReasonUndecodable Reason = "undecodable" // the message is not JSON
	ReasonOversize    Reason = "oversize"    // the message is too large for Temporal
	ReasonConflict    Reason = "conflict"    // the message's event id belongs to another event
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{
		ReasonRejected, ReasonExhausted, ReasonExpired, ReasonCanceled, ReasonRetired,
		ReasonUndecodable, ReasonOversize, ReasonConflict,
	}
}

// The reserved target names, under which messages are recorded that could not be fanned out
// at all. No target of targets.yaml can have one, because ValidTargetName allows no underscore.
const (
	UndecodableTarget = "_undecodable"
	OversizeTarget    = "_oversize"
	ConflictTarget    = "_conflict"
)

// ConflictCure is what a user can do about ReasonConflict.
const ConflictCure = `set FANOUT_EVENT_ID of ingest to an expression that gives each event an id of its own, such as event.id + "-" + event.type, ` +
	"or correct the producer"

// ReservedTargets returns all reserved target names.
func ReservedTargets() []string {
	return []string{UndecodableTarget, OversizeTarget, ConflictTarget}
}

var targetName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// ValidTargetName reports whether a target of targets.yaml may have the name.
func ValidTargetName(name string) bool { return targetName.MatchString(name) }
