// Package activities does what a FanOut run cannot do itself: it sends requests
// to targets and keeps dead letters.
//
// One Deliver is at most one request. Whether a request may go out now is decided
// per target and process, in hold: by the gate that a 429 closes, the breaker that
// an outage opens, and the bounds on requests in flight. classify, a pure function,
// decides what an answer means.
//
// The package refuses to loop, because every further attempt is Temporal's. It
// knows nothing of workflows, Kafka or the syntax of targets.yaml.
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
	Runs     Runs                  // knows the run before, and the activities under way
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
	Event  event.Event   `json:"event,omitzero"`  // if it is large, it is absent, and read from
	Body   event.Body    `json:"body,omitzero"`   // the first event of the run's history; so is the body
	Source event.Source  `json:"source,omitzero"` // zero if the run was started by hand without one
	Policy target.Policy `json:"policy"`

	// The state in which the fast lane left the delivery; zero if it was skipped.
	Progress  Progress  `json:"progress,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"` // earliest moment of the next attempt
	Sighting  Sighting  `json:"sighting,omitzero"`
}

// Sighting is the state of a target that gets no requests, as the process of the
// fast lane knew it. The retry lane may be another process, which then need not
// find out by requests of its own.
type Sighting struct {
	ClosedUntil time.Time `json:"closed_until,omitzero"` // when its gate opens; zero: it is open
	AwayAt      time.Time `json:"away_at,omitzero"`      // when it last failed to answer, if its breaker is open
}

// Progress counts the attempts of a delivery and holds the last failure. Deliver
// keeps it in its heartbeat details, which survive both a failed attempt and a lost
// worker.
type Progress struct {
	Attempts   int    `json:"attempts"`              // requests sent, or begun to be
	StatusCode int    `json:"status_code,omitempty"` // of the last answer; 0 when there was none
	Error      string `json:"error,omitempty"`       // of the last failure
}

// Outcome is the result of one attempt.
type Outcome struct {
	Verdict   Verdict   `json:"verdict"`
	Progress  Progress  `json:"progress,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"` // Retry, and a failed probe: earliest moment of the next attempt
	Wait      Wait      `json:"wait,omitzero"`       // Retry: the wait until NotBefore, without its jitter
	Sighting  Sighting  `json:"sighting,omitzero"`   // of the fast lane, if it did not deliver
}

// Verdict is the meaning of an attempt, and the metric label "outcome".
type Verdict string

// The verdicts, a closed set.
const (
	Delivered Verdict = "delivered"
	Retry     Verdict = "retry"    // failed, and retryable
	Rejected  Verdict = "rejected" // failed, and another attempt would fail too
	Held      Verdict = "held"     // nothing was sent, or only a probe: no attempt is spent
)

// Lane tells the first attempt from the later ones; also the metric label "lane".
type Lane string

// The two lanes.
const (
	FastLane  Lane = "fast"
	RetryLane Lane = "retry"
)
