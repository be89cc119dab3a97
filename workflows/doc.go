// Package workflows contains FanOut, the workflow that carries one event to each of its
// targets.
//
//   - fanout.go: the run of one event: its order, its beginning and its end
//   - delivery.go: one event on its way to one target: fast lane, retry lane, dead letter
//   - rerun.go: a run that is not the first of its event, and so delivers only what is outstanding
//   - tracker.go: the activities of the tracker, which are repeated until they succeed
//   - searchattribute.go: the search attribute DeadLetterTargets of a run
//   - state.go: the state that a query and Temporal UI show
//
// The package refuses to do any I/O: it uses no HTTP, no file, no Kafka and no clock of
// its own. Everything that must happen outside the workflow is an activity, which the
// workflow names by method reference.
package workflows

import "genesys-fanout/activities"

// acts is a nil pointer whose methods name the activities. The workflow never calls them.
var acts *activities.Activities
