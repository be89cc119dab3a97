// Package activities does what a FanOut run cannot do itself: it sends requests
// to targets and keeps dead letters.
//
// One Deliver is at most one request. What may be sent, and when, is decided
// here per target and process: the gate that a 429 closes, the breaker that an
// outage opens, and the bounds on requests in flight. What an answer means is
// decided by classify, a pure function.
//
// The package refuses to loop: every further attempt is Temporal's. It knows
// nothing of workflows, Kafka or targets.yaml's syntax.
package activities

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"genesys-fanout/event"
	"genesys-fanout/target"
)

// Targets finds a target by name.
type Targets interface {
	Get(name string) (*target.Target, bool)
}

// Options are what Activities need.
type Options struct {
	Targets  Targets
	Messages Messages              // reads the bodies that are too large for an activity's input
	Runs     Runs                  // tells of the run before, and of activities under way
	Tracker  Tracker               // nil if this process records no dead letters
	Health   Health                // nil: nobody asks whether the tracker is ready
	Metrics  prometheus.Registerer // nil: not counted
	Logger   *slog.Logger          // nil: slog.Default
}

// Activities are the activities of FanOut as methods. One value serves all
// workers of a process: the state of each target is shared by both lanes.
type Activities struct {
	targets  Targets
	messages *messageCache
	runs     Runs
	tracker  Tracker
	watch    *trackerWatch
	network  *network
	log      *slog.Logger
	metrics  *metrics
	holds    *holds
	recent   *recentOutcomes
}

// New makes the activities of one process.
func New(options Options) *Activities {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	network, holds := newNetwork(), newHolds(time.Now)
	holds.away = func(t *target.Target) { network.to(t).replace() }
	return &Activities{
		targets:  options.Targets,
		messages: newMessageCache(options.Messages),
		runs:     options.Runs,
		tracker:  options.Tracker,
		watch:    newTrackerWatch(options),
		network:  network,
		log:      options.Logger,
		metrics:  newMetrics(options.Metrics, holds),
		holds:    holds,
		recent:   newRecentOutcomes(),
	}
}

// Delivery is one event for one target: the input of FirstAttempt and Deliver.
type Delivery struct {
	Event  event.Event   `json:"event,omitzero"`  // either may be absent where it is large:
	Body   event.Body    `json:"body,omitzero"`   // read from the first event of the run's history
	Source event.Source  `json:"source,omitzero"` // zero if the run was started by hand without one
	Policy target.Policy `json:"policy"`

	// What the fast lane left behind; zero where it was skipped.
	Progress  Progress  `json:"progress,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"` // earliest moment of the next attempt
	Sighting  Sighting  `json:"sighting,omitzero"`
}

// Sighting is what the process that made, or did not make, the first attempt
// knew of a target that gets no requests. The retry lane may be another
// process: it takes the word of the first and need not find out by requests.
type Sighting struct {
	ClosedUntil time.Time `json:"closed_until,omitzero"` // its gate was closed until then
	AwayAt      time.Time `json:"away_at,omitzero"`      // its breaker is open, and it last failed to answer then
}

// Progress is how far a delivery has come. Deliver keeps it in its heartbeat
// details, which survive both a failed attempt and a lost worker.
type Progress struct {
	Attempts   int    `json:"attempts"`              // requests sent, or begun to be
	StatusCode int    `json:"status_code,omitempty"` // of the last answer; 0 when there was none
	Error      string `json:"error,omitempty"`       // of the last failure
}

// Outcome is what became of one attempt.
type Outcome struct {
	Verdict   Verdict   `json:"verdict"`
	Progress  Progress  `json:"progress,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"` // Retry, and a failed probe: earliest moment of the next attempt
	Wait      Wait      `json:"wait,omitzero"`       // Retry: what NotBefore comes from
	Sighting  Sighting  `json:"sighting,omitzero"`   // of the fast lane, where it did not deliver
}

// Verdict is the meaning of an attempt, and the metric label "outcome".
type Verdict string

// The verdicts, a closed set.
const (
	Delivered Verdict = "delivered"
	Retry     Verdict = "retry"    // failed, and may pass
	Rejected  Verdict = "rejected" // failed, and would fail again
	Held      Verdict = "held"     // nothing was sent, or only a probe: no attempt is spent
)

// Lane tells the first attempt from the later ones; also the metric label "lane".
type Lane string

// The two lanes.
const (
	FastLane  Lane = "fast"
	RetryLane Lane = "retry"
)
