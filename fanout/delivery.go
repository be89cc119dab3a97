package fanout

import (
	"time"

	"genesys-fanout/event"
	"genesys-fanout/target"
)

// DeliverInput is one event for one target: the input of the local activity
// FirstAttempt and of Deliver.
type DeliverInput struct {
	// Event and body are absent if they are large. Then the activity reads them from
	// the first event of the run's history.
	event.Message
	Policy target.Policy `json:"policy"`

	// What the fast lane left behind. All of it is zero if there was no first attempt.
	Progress    Progress    `json:"progress,omitzero"`
	NotBefore   time.Time   `json:"not_before,omitzero"` // earliest time of the next attempt
	TargetState TargetState `json:"target_state,omitzero"`
}

// DeliverResult is the result of Deliver if it delivered. Its failures are those of
// this package.
type DeliverResult struct{ Outcome }

// FirstAttemptResult is the result of FirstAttempt, which never fails.
type FirstAttemptResult struct{ Outcome }

// RecallInput asks the process that may have made the first attempt what its outcome
// was.
type RecallInput struct {
	Target string `json:"target"`
}

// RecallResult is the outcome of the first attempt. Its verdict is Held if the process
// made none; then it makes none later either.
type RecallResult struct{ Outcome }

// LastProgressInput asks how far the retry lane of a target has come.
type LastProgressInput struct {
	Target string `json:"target"`
}

// LastProgressResult is the progress that Deliver last recorded; zero if it recorded
// none yet.
type LastProgressResult struct{ Progress }

// Progress is how far a delivery has come. Deliver keeps it in its heartbeat details,
// which survive both a failed attempt and a lost worker.
type Progress struct {
	Attempts   int    `json:"attempts"`              // requests sent, or begun to be
	StatusCode int    `json:"status_code,omitempty"` // of the last answer; 0 if there was none
	Error      string `json:"error,omitempty"`       // of the last failure
}

// Outcome is the outcome of one attempt.
type Outcome struct {
	Verdict     Verdict     `json:"verdict"`
	Progress    Progress    `json:"progress,omitzero"`
	NotBefore   time.Time   `json:"not_before,omitzero"`   // after Retry and after a failed probe: earliest time of the next attempt
	Wait        Wait        `json:"wait,omitzero"`         // after Retry: the wait until NotBefore, without its jitter
	TargetState TargetState `json:"target_state,omitzero"` // of a first attempt that did not deliver
}

// Verdict is the meaning of an attempt, and the metric label "outcome".
type Verdict string

// The verdicts, a closed set.
const (
	Delivered Verdict = "delivered"
	Retry     Verdict = "retry"    // it failed, and a further attempt may succeed
	Rejected  Verdict = "rejected" // it failed, and a further attempt would fail too
	Held      Verdict = "held"     // nothing was sent, or only a probe: no attempt is spent
)

// TargetState is what the process of the first attempt knew of a target that gets no
// requests at the moment. The retry lane may be in another process: it believes the
// first one, so that it need not find out by requests of its own.
type TargetState struct {
	ClosedUntil time.Time `json:"closed_until,omitzero"` // the gate of the target is closed until then
	AwayAt      time.Time `json:"away_at,omitzero"`      // its breaker is open, and its last failure was at this time
}

// State is where a delivery is on its way.
type State string

// The states of a delivery.
const (
	StateWaiting    State = "waiting"     // for its first attempt
	StateRetrying   State = "retrying"    // in the retry lane: activity deliver-<target> shows each attempt
	StateRecording  State = "recording"   // given up, and not in the tracker yet
	StateDeadLetter State = "dead letter" // given up, and in the tracker
	StateResolving  State = "resolving"   // delivered, and the record of an earlier run not closed yet
	StateDelivered  State = "delivered"
)

// DeliveryStatus is the answer of QueryDeliveries for one target.
type DeliveryStatus struct {
	Target string       `json:"target"`
	State  State        `json:"state"`
	Reason event.Reason `json:"reason,omitempty"` // why it was given up

	// Requests sent and the last failure, as far as the run knows: while the state
	// is retrying, those before the retry lane.
	Attempts   int    `json:"attempts"`
	StatusCode int    `json:"status_code,omitempty"`
	Error      string `json:"error,omitempty"`
}
