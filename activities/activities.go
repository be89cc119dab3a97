// Package activities does the work of a FanOut run that a workflow cannot do: it sends requests
// to targets, and it records and resolves dead letters.
//
// Each task of FirstAttempt and of Deliver sends at most one request. The type admission
// decides for each target of a process whether a request may be sent now: it has the rate-limit
// gate, which a 429 closes, the circuit breaker, which opens in an outage, and the limits on
// requests in flight. The pure function classify decides what an answer means.
//
//   - deliver.go: the two lanes and one attempt; retrytask.go: the failures of the retry lane;
//     requests.go: the requests of this process and their outcomes, so that none is sent twice
//   - admission.go, slotsupplier.go, backoff.go: when a request is sent
//   - request.go, repeat.go, connections.go, errortext.go: how a request is sent
//   - classify.go: what an answer means
//   - message.go, runs.go: what is read from Temporal
//   - deadletter.go, tracker.go: dead letters; trackermonitor.go, opendeadletters.go: the state
//     of the tracker, for health and metrics
//
// The package refuses to loop over attempts, because Temporal retries. It does not know the
// workflows, Kafka or the syntax of targets.yaml.
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
	// Process is the id of this process, which is new each time it starts. It is part of the
	// identity of its Temporal client (fanout.Identity).
	Process string

	Targets    Targets
	Messages   Messages              // reads the messages that are too large for an activity's input
	Runs       Runs                  // reads the previous run, and the progress of pending activities
	Heartbeats Heartbeats            // needed by Deliver
	Tracker    Tracker               // nil if this process records no dead letters
	Health     Health                // if nil, the health of the tracker is not reported
	Metrics    prometheus.Registerer // if nil, no metrics are registered
	Logger     *slog.Logger          // if nil, slog.Default
}

// Activities has the activities of FanOut as methods. One value serves all workers of a process,
// because both lanes share the admission of each target.
type Activities struct {
	targets    Targets
	messages   *messageCache
	runs       Runs
	tracker    Tracker
	monitor    *trackerMonitor
	network    *network
	log        *slog.Logger
	metrics    *metrics
	admissions *admissions
	requests   *requests
	heartbeats Heartbeats
}

// New makes the activities of one process.
func New(options Options) *Activities {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	network, admissions := newNetwork(), newAdmissions(time.Now)
	// The target may be unavailable because our connections to it are broken.
	admissions.onUnavailable = func(t *target.Target) { network.connectionsTo(t).replace() }
	return &Activities{
		targets:    options.Targets,
		messages:   newMessageCache(options.Messages),
		runs:       options.Runs,
		tracker:    options.Tracker,
		monitor:    newTrackerMonitor(options),
		network:    network,
		log:        options.Logger,
		metrics:    newMetrics(options.Metrics, admissions),
		admissions: admissions,
		requests:   newRequests(options.Process),
		heartbeats: options.Heartbeats,
	}
}

// Lane says which activity makes an attempt. It is also the metric label "lane".
type Lane string

// The two lanes.
const (
	FastLane  Lane = "fast"  // the first attempt, by FirstAttempt
	RetryLane Lane = "retry" // all further attempts, by Deliver
)

// Process returns the id of this process.
func (a *Activities) Process() string { return a.requests.process }
