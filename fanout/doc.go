// Package fanout is the contract between the processes that start runs and those that execute
// them. It defines everything that is sent through Temporal or has a name there. It starts runs,
// and it contains the rules that both sides must share.
//
//   - names.go: the workflow, task queues, activity IDs, identities, memos and queries
//   - input.go: the input and the result of a run
//   - options.go, start.go: the options of a start, and the start itself
//   - attributes.go: the search attributes
//   - delivery.go, deadletter.go: the input and the result of each activity, and the progress
//     of a delivery
//   - failure.go, wait.go: the failure types, and why a delivery is given up
//   - limits.go: the limits on what a run writes
//   - converter.go: the data converter
//
// The package refuses to send requests to targets, to decide what an answer means, and to wait
// for another attempt. It imports event and target and no other package of the project.
//
// Types are named by their activity: the input of activity X is XInput, and its result is
// XResult.
package fanout
