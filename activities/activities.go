// Package activities does the work of a FanOut run that a workflow cannot do: it sends requests
// to targets, and it records and resolves dead letters.
//
// The activities, and the task queues on which they are executed:
//
//   - FirstAttempt (deliver.go), FirstTask and LastProgress (runs.go) are local activities,
//     within a workflow task. FirstAttempt is the fast lane. FirstTask returns which process
//     lost the first workflow task, and LastProgress how far Deliver has come.
//   - Deliver (deliver.go) is the retry lane, on the queue of each target.
//   - Recall (deliver.go) returns the outcome of an earlier request, on the queue of the process
//     that began the request.
//   - RecordDeadLetter, ResolveDeadLetter and Outstanding (deadletter.go) write and read the
//     tracker, on the queue of dead letters.
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
//   - classify.go: what an answer means, and how long a 429 closes the gate
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
	Heartbeats Heartbeats            // records the progress of Deliver; nil if this process serves no retry lane
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
