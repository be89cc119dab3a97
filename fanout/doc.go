// Package fanout defines everything that is sent through Temporal or has a name there:
// the workflow, queues, IDs, memos, search attributes, the input and the result of the
// workflow and of each activity, failure types, start options and the data converter.
//
// This package is the only contract between the other packages. ingest and replay start
// runs with it, workflows makes its decisions with its types, and activities returns
// them. It imports event and target and no other package of the project.
//
// The package refuses to decide anything: it neither sends nor retries, and a type here
// has no behaviour beyond writing and reading itself.
//
// Types are named by their activity: the input of activity X is XInput, and its result is
// XResult.
package fanout
