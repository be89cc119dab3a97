// Package workflows holds FanOut, the workflow that carries one event to each
// of its targets, and the contract around it: names, IDs, queues and payloads.
//
// The package refuses to touch the world: no HTTP, no file, no Kafka, no clock
// of its own. What must happen outside is an activity, named by method
// reference.
package workflows
