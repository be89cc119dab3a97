// Package fanout holds everything that travels through Temporal, and everything that
// has a name there: workflow, queues, IDs, memos, search attributes, the input and
// the result of the workflow and of each activity, failure types, start options and
// the data converter.
//
// The parties agree by this package alone. ingest and replay start runs with it,
// workflows decides with its types, and activities returns them. It imports event
// and target and no other package of the project.
//
// The package refuses to decide anything: it neither sends nor retries, and a type
// here has no behaviour beyond writing and reading itself.
//
// Names of types: the input of activity X is XInput, its result is XResult.
package fanout
