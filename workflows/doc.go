// Package workflows contains FanOut, the workflow that carries one event to each of its
// targets.
//
// The package refuses to do any I/O: it uses no HTTP, no file, no Kafka and no clock of
// its own. Everything that must happen outside the workflow is an activity, which the
// workflow names by method reference.
package workflows
