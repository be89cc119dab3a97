// Package audit decides whether a run of the chaos program kept the promise of the fan-out: nothing
// lost, nothing twice without a reason, no offset committed too early.
//
// It decides from Facts alone: what was produced, what each target received and answered, what the
// tracker holds, what Temporal has, what the group committed, and which faults were injected when.
// It does no I/O, so a test can plant any fault. All times are of one machine's clock.
//
// A second delivery needs a cause in Facts.Disturbances that names the process that sent the first
// one, or the target, or the event. That some fault happened at that time is no cause.
package audit

import (
	"crypto/sha256"
	"time"

	"genesys-fanout/event"
)

// Facts are what is known at the end of a run, when no delivery is in progress any more.
type Facts struct {
	Targets      []Target
	Messages     []Message
	Requests     []Request // of all targets, in the order of arrival
	Records      []Record  // of the tracker, open and closed
	Runs         []Run
	Commits      []Commit
	Disturbances []Disturbance
}

// Target is a target of targets.yaml.
type Target struct {
	Name        string
	MaxAttempts int
	Timeout     time.Duration
	// Always is true if every event must go to the target. A target that was added to the file or
	// taken out of it during the run gets the events whose run names it.
	Always bool
}

// Kind is what ingest must make of a message.
type Kind string

// The kinds of messages.
const (
	Event       Kind = "event"       // it goes to the targets; a repeated message is the same event
	Undecodable Kind = "undecodable" // it is recorded for _undecodable
	Oversize    Kind = "oversize"    // it is recorded for _oversize
	Conflict    Kind = "conflict"    // its id belongs to another event, so it is recorded for _conflict
	Tombstone   Kind = "tombstone"   // a null value: committed, no run
)

// Message is a message that the broker acknowledged.
type Message struct {
	Partition int32
	Offset    int64
	Kind      Kind
	EventID   string // empty if the kind has none
	SHA256    [sha256.Size]byte
}

// Request is a request that a target received completely.
type Request struct {
	Target   string
	EventID  string
	Sender   string // the process that sent it, with the number of its start: worker-1.3
	Attempt  int    // X-Delivery-Attempt
	At       time.Time
	Answered time.Time // zero if there was no answer
	Status   int       // of the answer; 0 if there was none
	SHA256   [sha256.Size]byte
}

// Delivered reports whether the target accepted the event.
func (r Request) Delivered() bool { return r.Status >= 200 && r.Status <= 299 }

// State is where a record is.
type State string

// The states of a record.
const (
	Open       State = "open"
	Resolved   State = "resolved"
	Superseded State = "superseded"
	Discarded  State = "discarded"
)

// Record is a dead letter in the tracker.
type Record struct {
	Target    string // or a reserved name, such as _undecodable
	EventID   string
	State     State
	Reason    event.Reason
	At        time.Time // when the delivery was given up
	ClosedAt  time.Time // when it was resolved or discarded; zero otherwise
	RunID     string
	Partition int32
	Offset    int64
}

// Run is a run of an event in Temporal.
type Run struct {
	EventID string
	RunID   string
	Started time.Time
	Closed  time.Time // zero if it is open
	Status  string    // Running, Completed, Failed, Canceled, Terminated, …
	Targets []string  // of its input
}

// Commit is an offset that the group had committed when it was asked.
type Commit struct {
	At        time.Time // before the question
	Partition int32
	Offset    int64 // the next one to read
}

// Cause is a kind of disturbance that may explain a second delivery.
type Cause string

// The causes.
const (
	// Process got SIGKILL, or ended itself at a failpoint.
	Killed Cause = "killed"
	// Process was stopped by SIGTERM at From. It explains a second delivery only if Temporal was
	// disturbed before, because a process that stops forgets what Temporal has not accepted.
	Stopped Cause = "stopped before Temporal had the outcome"
	// Process was stopped by SIGSTOP from From to To.
	Paused Cause = "paused"
	// Process could not reach Temporal from From to To.
	CutOff Cause = "cut off from Temporal"
	// The connections between Process and Target were disturbed.
	TargetNetwork Cause = "network to the target"
	// Temporal, or its database, did not answer from From to To, or lost writes. It explains nothing by
	// itself.
	TemporalAway Cause = "Temporal away"
	// Temporal's database was restored at To from a dump that began at From.
	TemporalRestored Cause = "Temporal restored"
	// An operator reset a run of EventID that was open or terminated.
	ResetOfOpenRun Cause = "reset of an open or terminated run"
	// An operator reset the delivery of EventID to Target together with its heartbeats.
	ActivityReset Cause = "activity reset with its heartbeats"
	// The target answered when the sender had given up. It follows from the requests.
	TooLate Cause = "answered after the timeout"
)

// Disturbance is a fault that was injected, or a command of an operator.
type Disturbance struct {
	Cause    Cause
	From, To time.Time // To is zero if it has no end
	Process  string    // as Request.Sender; empty: every process
	Target   string    // empty: every target
	EventID  string    // empty: every event
}
