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

// Lane tells the first attempt from the later ones; also the metric label "lane".
type Lane string

// The two lanes.
const (
	FastLane  Lane = "fast"
	RetryLane Lane = "retry"
)
