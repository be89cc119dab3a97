// Package replay sends dead letters again. For each event of the open records that a
// filter chooses, it starts one run of FanOut to the targets of those records, and then
// reports the outcome of each delivery.
//
// The package refuses to deliver anything and to write into the tracker, because the
// workers do both for the run. It sends only records that it counted before, and each of
// them once. It does not send a record that cannot be delivered, such as one of a paused
// target: it reports that record and sends the others.
//
// At most 8 starts are in flight. A started run no longer counts. So any number of runs may
// wait for a target that is down, and no other target waits for them. Of a run that waits, the
// package keeps the id and the file names of its records in memory.
//
// The files of the package:
//
//	plan.go       count the chosen records, and remember which were counted
//	exclusion.go  which records are not sent, why, and what to do about them
//	event.go      collect the counted records of an event, and make its run's input
//	replay.go     New and Run: start the runs at a rate, and wait for their outcomes
//	start.go      start one run
//	trackers.go   which tracker has the records of an event, for the memo of its run
//	outcomes.go   find the outcomes of deliveries in the records
//	runs.go       ask Temporal which runs have ended
//	waiting.go    wait until Temporal answers and the tracker can be read
//	counts.go     how far a replay has come
package replay
