package fanout

import (
	"fmt"
	"time"

	"genesys-fanout/event"
	"genesys-fanout/target"
)

// DeliverInput is one event for one target: the input of the local activity
// FirstAttempt and of Deliver.
type DeliverInput struct {
	// The event and the body are absent if they are large. Then the activity reads them
	// from the first event of the run's history.
	event.Message
	Policy target.Policy `json:"policy"`

	// The outcome of the fast lane. These fields are zero if there was no first attempt.
	Progress    Progress    `json:"progress,omitzero"`
	NotBefore   time.Time   `json:"not_before,omitzero"` // the earliest time of the next attempt
	TargetState TargetState `json:"target_state,omitzero"`
}

// DeliverResult is the result of Deliver if it delivered the event. Otherwise Deliver fails
// with one of the failures of this package.
type DeliverResult struct{ Outcome }

// FirstAttemptResult is the result of FirstAttempt. FirstAttempt fails only if its context ends.
// The workflow then counts an attempt, because the request may have been sent.
type FirstAttemptResult struct{ Outcome }

// FirstTaskResult names the process that polled the first workflow task of a run, if Temporal
// never got the answer to that task.
type FirstTaskResult struct {
	Process string `json:"process,omitempty"` // empty if no process can be asked
}

// RecallInput names a request. Recall asks the process that began the request for its outcome.
type RecallInput struct {
	Target string `json:"target"`
	RunID  string `json:"run_id"`           // of the run that made the first attempt; a run that was reset asks for its original run
	Number int64  `json:"number,omitempty"` // the number of the Request; 0 is the first attempt of the run
}

// RecallResult is the outcome of a request. If Sent is false, the process did not send the request
// and will not send it later either. Then the outcome is zero.
type RecallResult struct {
	Sent bool `json:"sent"`
	Outcome
}

// LastProgressInput names the target whose progress in the retry lane LastProgress reads.
type LastProgressInput struct {
	Target string `json:"target"`
}

// LastProgressResult is the progress that Deliver last recorded. It is zero if Deliver has
// recorded none yet.
type LastProgressResult struct{ Progress }

// Progress counts the attempts of a delivery, and has the result of the last one. Deliver keeps it
// in its heartbeat details, which survive both a failed task and a lost worker. The attempts are
// counted nowhere else.
type Progress struct {
	Attempts   int    `json:"attempts"`              // the attempts that were begun, including one that is in flight
	StatusCode int    `json:"status_code,omitempty"` // the HTTP status of the last answer; 0 if there was none
	Error      string `json:"error,omitempty"`       // the error of the last failure

	// InFlight names the request of the last attempt until its outcome is recorded. It is zero
	// if the outcome of each attempt is recorded.
	InFlight Request `json:"in_flight,omitzero"`
}

// Request names one request. The first attempt of a run has the number 0.
type Request struct {
	Process string `json:"process"` // the process that began it, as in ProcessQueue
	Number  int64  `json:"number"`  // counts the requests of that process in the retry lane, from 1
}

// Delivered reports whether the last answer was a success. Then no further attempt is made.
func (p Progress) Delivered() bool {
	return p.InFlight == (Request{}) && IsSuccess(p.StatusCode)
}

// IsSuccess reports whether an answer with this HTTP status means that the target has accepted
// the event: any 2xx.
func IsSuccess(status int) bool { return status >= 200 && status <= 299 }

// Begin returns the progress of a delivery that begins its next attempt with request r.
func (p Progress) Begin(r Request) Progress {
	p.Attempts++
	p.InFlight = r
	return p
}

// Unsent returns the progress of a delivery whose request in flight was never sent. The attempt
// does not count.
func (p Progress) Unsent() Progress {
	p.Attempts--
	p.InFlight = Request{}
	return p
}

// Lost returns the progress of a delivery if the process that began the request in flight no
// longer answers. The attempt counts, because the event may have been delivered.
func (p Progress) Lost() Progress {
	p.InFlight = Request{}
	p.StatusCode = 0
	p.Error = fmt.Sprintf("attempt %d was begun by a process that no longer answers; the event may have been delivered", p.Attempts)
	return p
}

// PrefixError returns the progress with why in front of the error of the last attempt. why may be
// empty.
func (p Progress) PrefixError(why string) Progress {
	if why != "" && p.Error != "" {
		why += "; "
	}
	p.Error = why + p.Error
	return p
}

// MaxAgePassed returns the progress of a delivery that is given up because its max_age has passed.
func (p Progress) MaxAgePassed() Progress {
	if p.Attempts == 0 {
		return p.PrefixError(maxAgePassed + " before the first attempt")
	}
	return p.PrefixError(maxAgePassed)
}

// Outcome is the outcome of one attempt.
type Outcome struct {
	Verdict     Verdict     `json:"verdict"`
	Progress    Progress    `json:"progress,omitzero"`
	NotBefore   time.Time   `json:"not_before,omitzero"`   // after Retry and after a failed probe: the earliest time of the next attempt
	Wait        Wait        `json:"wait,omitzero"`         // after Retry: the wait until NotBefore, without its jitter
	TargetState TargetState `json:"target_state,omitzero"` // after a first attempt that did not deliver: the state of the target
}

// Verdict is the meaning of the outcome of an attempt. It is also the metric label "outcome".
type Verdict string

// The verdicts, a closed set.
const (
	Delivered Verdict = "delivered"
	Retry     Verdict = "retry"    // the attempt failed, and another one may succeed
	Rejected  Verdict = "rejected" // the attempt failed, and another one would fail too
	Held      Verdict = "held"     // nothing was sent, or only a probe, so no attempt is spent
)

// TargetState describes a target that is blocked, as the process of the first attempt knows it.
// The retry lane may be in another process. That process applies this state, so that it does not
// have to send requests of its own to find out.
type TargetState struct {
	ClosedUntil time.Time `json:"closed_until,omitzero"` // until when the target's gate is closed; zero if it is open
	LastFailure time.Time `json:"last_failure,omitzero"` // when the target last failed to answer, if its breaker is open; zero if it is closed
}

// State is the stage that a delivery has reached.
type State string

// The states of a delivery.
const (
	StateWaiting    State = "waiting"     // waits for its first attempt
	StateRetrying   State = "retrying"    // in the retry lane; the activity deliver-<target> shows each attempt
	StateRecording  State = "recording"   // given up, and not in the tracker yet
	StateDeadLetter State = "dead letter" // given up, and in the tracker
	StateResolving  State = "resolving"   // delivered, but the record of an earlier run is not closed yet
	StateDelivered  State = "delivered"
)

// DeliveryStatus is the answer of QueryDeliveries for one target.
type DeliveryStatus struct {
	Target string       `json:"target"`
	State  State        `json:"state"`
	Reason event.Reason `json:"reason,omitempty"` // why the delivery was given up

	// The requests sent and the last failure, as far as the run knows them. While the
	// state is retrying, they are those before the retry lane.
	Attempts   int    `json:"attempts"`
	StatusCode int    `json:"status_code,omitempty"`
	Error      string `json:"error,omitempty"`
}
